"""A task's image: a data URI, a public URL, or an upload, which the Label Studio of the settings is asked for."""

from __future__ import annotations

import asyncio
from functools import partial

import httpx
from starlette.requests import Request

from lexiseg_service.adapters.reading import image_beside
from lexiseg_service.errors import ImageNotFetched, InvalidValue, TooLarge
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.settings import Settings

SECONDS = 10.0


async def image_of(request: Request, value: str, field: str) -> tuple[bytes | None, str | None]:
    """(bytes, None), or (None, URL) for the service's own guarded fetching.

    Raises:
        InvalidValue: it is neither an image nor a place of one, or an upload of no Label Studio that is known here.
        ImageNotFetched: Label Studio gave no image.
        TooLarge: it gave one that is over the limit.
    """
    settings: Settings = request.app.state.settings
    home = settings.label_studio_url
    upload = None if home is None else upload_url(value, home)
    if upload is not None:
        client: str = request.state.client
        return await use_case_of(request).in_room(client, partial(_upload, upload, settings)), None
    if value.startswith("/"):
        raise InvalidValue.of(field, value, "a URL or a data URI; LEXISEG_LABEL_STUDIO_URL says whose uploads to fetch")
    return await image_beside(value, field)


def upload_url(value: str, home: str) -> httpx.URL | None:
    """The URL of an upload, joined first and compared afterwards; None where it does not lead to `home`.

    The URL that is compared is the one that is requested, so that no second parser can read it differently.
    """
    if not value.startswith(("/", "http://", "https://")):
        return None
    try:
        base = httpx.URL(f"{home.rstrip('/')}/")
        url = base.join(value)
    except (httpx.InvalidURL, ValueError):
        return None
    same = (url.scheme, url.raw_host, url.port) == (base.scheme, base.raw_host, base.port)
    return url if same and not url.userinfo else None


async def _upload(url: httpx.URL, settings: Settings) -> bytes:
    """Fetch with the token, as it is stored. Redirects are not followed: they might lead elsewhere."""
    key = settings.label_studio_api_key
    headers = {"Accept-Encoding": "identity"}
    if key is not None:
        headers["Authorization"] = f"Token {key.get_secret_value()}"
    max_bytes = settings.limits.max_image_bytes
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise ImageNotFetched(f"Label Studio answered {response.status_code} to the request for an upload")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ImageNotFetched("Label Studio sent an upload with a Content-Encoding; expected the file itself")
            content = bytearray()
            async for part in response.aiter_raw():
                content += part
                if len(content) > max_bytes:
                    raise TooLarge(f"an upload has more than {max_bytes:,} bytes")
            return bytes(content)
    except TimeoutError:
        raise ImageNotFetched(f"Label Studio did not send an upload within {SECONDS:g} seconds") from None
    except httpx.HTTPError:
        raise ImageNotFetched("Label Studio could not be asked for an upload") from None
