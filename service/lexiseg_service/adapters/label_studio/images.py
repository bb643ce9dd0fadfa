"""A task's image: a data URI, a public URL, or an upload, which the Label Studio of the settings is asked for."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import httpx
from starlette.requests import Request

from lexiseg_service.adapters.reading import image_beside
from lexiseg_service.errors import ImageNotFetched, InvalidValue, TooLarge
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
    if home is not None and _is_of(value, home):
        return await _upload(urljoin(f"{home.rstrip('/')}/", value), settings), None
    if value.startswith("/"):
        raise InvalidValue.of(field, value, "a URL or a data URI; LEXISEG_LABEL_STUDIO_URL says whose uploads to fetch")
    return await image_beside(value, field)


def _is_of(value: str, home: str) -> bool:
    """Whether an address leads to the Label Studio of the settings and nowhere else."""
    if value.startswith("/"):
        return not value.startswith(("//", "/\\"))
    there, here = urlsplit(value), urlsplit(home)
    return (there.scheme, there.netloc) == (here.scheme, here.netloc)


async def _upload(url: str, settings: Settings) -> bytes:
    """Nothing but this one host is asked, whose owner named it; a redirect is not followed."""
    key = settings.label_studio_api_key
    headers = {} if key is None else {"Authorization": f"Token {key.get_secret_value()}"}
    most = settings.limits.max_image_bytes
    try:
        async with (
            httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise ImageNotFetched(f"Label Studio answered {response.status_code} to the request for an upload")
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > most:
                    raise TooLarge(f"an upload has more than {most:,} bytes")
            return bytes(content)
    except httpx.HTTPError:
        raise ImageNotFetched("Label Studio could not be asked for an upload") from None
