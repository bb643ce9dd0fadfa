"""Requests to workers about several images, for one request of a client: a few at a time, the first error ends all.

Each image passes the same checks, limits and routing as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from lexiseg_service.errors import InvalidValue
from lexiseg_service.image.reader import HeaderReader
from lexiseg_service.question.messages import ImageSource, WorkerRequest

T = TypeVar("T")
Fetch = Callable[[str, str], Awaitable[bytes]]
MAX_CONCURRENT = 4  # images of one request that workers look at concurrently


async def all_of(asks: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results of all `asks`, in order; the first error cancels the others."""
    places = asyncio.Semaphore(MAX_CONCURRENT)

    async def ask(one: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await one()

    tasks = [asyncio.ensure_future(ask(one)) for one in asks]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Images:
    """Puts images of any source into requests.

    Args:
        fetch: fetches an image by its URL, for a client.
        headers: reads the headers of images.
    """

    def __init__(self, fetch: Fetch, headers: HeaderReader) -> None:
        self._fetch = fetch
        self._headers = headers

    async def put(self, request: WorkerRequest, source: ImageSource, field: str) -> WorkerRequest:
        """The request with an image, which is its own where the source is empty.

        Raises:
            InvalidValue: it has none of its own; names `field`.
            ServiceError: of any kind, about the image.
        """
        if source.is_empty:
            if request.image is None and not request.image_id:
                raise InvalidValue.of(field, "none", "an image: the request has none of its own")
            return request
        if source.id is not None:
            return replace(request, image=None, image_id=source.id, header=None)
        image = source.content
        if image is None:
            image = await self._fetch(source.url or "", request.source)
        header, image_id = await self._headers.identify(image, request.source, request.deadline)
        return replace(request, image=image, image_id=image_id, header=header)
