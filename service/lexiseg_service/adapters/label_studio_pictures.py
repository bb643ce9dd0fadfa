"""Pictures of Label Studio's tasks: uploads, what lies in its cloud stores, URLs and data URIs.

    place_of_picture -> image_of -> of Label Studio's own host: with its token, redirects followed
                                 -> of any other host, also behind a redirect: the rules for images by URL

A cloud store (s3://, gs://, azure-blob://) is never asked by its scheme: the tool's resolver sends the picture, or a
redirect to a signed URL of the store.
"""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64encode
from functools import partial

import httpx

from lexiseg_service.adapters.tools import image_of_text
from lexiseg_service.errors import ImageNotFetched, InvalidValue, UrlFetchOff
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.image.url_fetch import IMAGE_HEADERS, MAX_REDIRECTS, content_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.settings import Settings

FETCH_SECONDS = 10.0  # for one picture of Label Studio
STORE = re.compile(r"(?!https?:)[a-z][a-z0-9+._-]*://", re.IGNORECASE)  # begins a place in a cloud store


def place_of_picture(value: str, task_id: int | None) -> str:
    """A task's value as it is fetched: a place in a cloud store becomes the address of the tool's resolver."""
    if task_id is None or not STORE.match(value):
        return value
    return f"./tasks/{task_id}/resolve/?fileuri={urlsafe_b64encode(value.encode(errors='replace')).decode()}"


async def image_of(place: str, field: str, client: str, settings: Settings, use_case: UseCase) -> ImageSource:
    """A task's image: what Label Studio keeps is fetched from it, any other URL by the service's own rules."""
    home = settings.label_studio_url
    url = None if home is None else url_at(place, home)
    if url is not None:
        return ImageSource(
            await use_case.fetching.counted(client, partial(_picture_at, url, client, settings, use_case))
        )
    if place.startswith(("/", "./")):
        expected = (
            "a URL or a data URI; uploads, and pictures in s3://, gs:// or azure-blob://, are fetched from"
            " Label Studio: set LEXISEG_LABEL_STUDIO_URL and LEXISEG_LABEL_STUDIO_API_KEY"
        )
        raise InvalidValue.of(field, place, expected)
    if scheme := STORE.match(place):
        expected = "a task with its `id`, by which Label Studio's resolver finds a picture in a cloud store"
        raise InvalidValue.of(field, f"{scheme[0][:20]} of a task without one", expected)
    return await image_of_text(place, field)


def url_at(place: str, home: str) -> httpx.URL | None:
    """Resolve a place against Label Studio's address; None if it leads to another host.

    The URL that is compared is the one that is requested, so that no second parser can read it differently.
    """
    if not place.startswith(("/", "./", "http://", "https://")):
        return None
    try:
        base = httpx.URL(f"{home.rstrip('/')}/")
        url = base.join(place)
    except (httpx.InvalidURL, ValueError):
        return None
    return url if _same_host(url, base) and not url.userinfo else None


def _same_host(url: httpx.URL, base: httpx.URL) -> bool:
    return (url.scheme, url.raw_host, url.port) == (base.scheme, base.raw_host, base.port)


async def _picture_at(url: httpx.URL, client: str, settings: Settings, use_case: UseCase) -> bytes:
    content = await content_at(url, settings, settings.limits.max_image_bytes)
    if isinstance(content, bytes):
        return content
    try:
        return await use_case.fetching.fetch_uncounted(str(content), client)
    except UrlFetchOff:
        raise UrlFetchOff(
            "Label Studio leads to another host for this picture, as a cloud store: LEXISEG_URL_NETWORKS lets hosts be"
            " asked, * those of the public"
        ) from None


async def content_at(url: httpx.URL, settings: Settings, max_bytes: int) -> bytes | httpx.URL:
    """The content at a URL of Label Studio, or the URL on another host, which gets no token, that it leads to."""
    try:
        async with asyncio.timeout(FETCH_SECONDS), httpx.AsyncClient(timeout=FETCH_SECONDS, trust_env=False) as client:
            headers = IMAGE_HEADERS | await authorization(client, settings)
            target = url
            for _ in range(MAX_REDIRECTS + 1):
                async with client.stream("GET", target, headers=headers) as response:
                    if response.status_code == 401:
                        raise ImageNotFetched("Label Studio wants another LEXISEG_LABEL_STUDIO_API_KEY (status 401)")
                    if not response.has_redirect_location:
                        return await content_of(response, "Label Studio", max_bytes)
                    target = target.join(response.headers["location"])
                if not _same_host(target, url) or target.userinfo:
                    return target
    except TimeoutError:
        raise ImageNotFetched(f"Label Studio did not answer within {FETCH_SECONDS:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):  # the last two by a redirect
        raise ImageNotFetched("Label Studio could not be asked") from None
    raise ImageNotFetched(f"Label Studio: more than {MAX_REDIRECTS} redirects")


async def authorization(client: httpx.AsyncClient, settings: Settings) -> dict[str, str]:
    """The Authorization header for a legacy or a personal token of Label Studio; empty without a token.

    A personal token, the default since 1.18, is a JWT that is exchanged for an access token of five minutes.
    """
    if settings.label_studio_api_key is None or settings.label_studio_url is None:
        return {}
    key = settings.label_studio_api_key.get_secret_value()
    if key.count(".") != 2:
        return {"Authorization": f"Token {key}"}
    response = await client.post(f"{settings.label_studio_url.rstrip('/')}/api/token/refresh", json={"refresh": key})
    try:
        return {"Authorization": f"Bearer {response.raise_for_status().json()['access']}"}
    except (httpx.HTTPStatusError, ValueError, LookupError, TypeError):
        raise ImageNotFetched(
            f"Label Studio gave no access token for the personal one of the settings (status {response.status_code})"
        ) from None
