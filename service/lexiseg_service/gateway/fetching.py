"""Images by URL: fetched where the settings allow it, and counted in the bytes that a gateway holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial

from lexiseg_service.errors import UrlFetchOff
from lexiseg_service.image.url_fetch import FIELD, MAX_LOOKUPS, HostGuard, SystemResolver, UrlFetcher
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Hold, Shares

# The first bytes that the current request holds of fetched images: what it fetches in addition must not wait for it.
_FIRST_HOLD: ContextVar[Hold | None] = ContextVar("first_hold", default=None)


class Fetching:
    """Fetches images by URL; `fetcher` replaces that of the settings, `shares` bounds the bytes in memory."""

    def __init__(self, settings: Settings, fetcher: UrlFetcher | None, shares: Shares | None) -> None:
        self._settings = settings
        self._shares = shares
        if fetcher is None and settings.takes_urls:
            resolve, own, to_public = SystemResolver(MAX_LOOKUPS), settings.own_hosts, settings.fetches_publicly
            hosts = HostGuard(FIELD, resolve, setting="LEXISEG_URL_NETWORKS", own=own, to_public=to_public)
            fetcher = UrlFetcher(settings.limits.max_image_bytes, hosts)
        self._fetcher = fetcher

    async def fetch(self, url: str, client: str) -> bytes:
        """The image at a URL; its bytes are counted until the current task ends."""
        return await self.counted(client, partial(self.fetch_uncounted, url, client))

    async def fetch_uncounted(self, url: str, client: str) -> bytes:
        """The image at a URL, for what is given to `counted`; raises as `fetch`."""
        if self._fetcher is None:
            raise UrlFetchOff(
                "image.url: LEXISEG_URL_NETWORKS names no host, so no image is fetched by URL; send the file itself"
            )
        return await self._fetcher.fetch(url, client)

    async def counted(self, client: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """The result of `fetch`; its bytes are counted until the current task ends."""
        if self._shares is None:
            return await fetch()
        # The size is unknown until the image is complete, so the maximum is reserved first.
        expected = self._settings.limits.max_image_bytes
        hold = await self._shares.wait(client, expected, self._settings.deadline_seconds, _FIRST_HOLD.get())
        if (first := _FIRST_HOLD.get()) is None or first.is_empty:
            _FIRST_HOLD.set(hold)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: hold.release())
        size = 0
        try:
            content = await fetch()
            size = len(content)
            return content
        finally:
            hold.reduce_to(size)
