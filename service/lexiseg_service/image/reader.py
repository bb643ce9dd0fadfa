"""Read images that are sent, by `lexiseg_model.pictures`, within the limits: header and id, then the pixels.

The gateway reads the header once and hands it to the worker, which decodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from lexiseg_model.errors import PictureError, UnsupportedPictureError
from lexiseg_model.pictures import header as headers
from lexiseg_model.pictures import reader
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.pictures.reader import Picture
from lexiseg_service.errors import (
    DeadlineExceeded,
    InvalidValue,
    ServiceError,
    TooLarge,
    UndecodableImage,
    UnsupportedImage,
)
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.question.messages import ImageSource, WorkerRequest
from lexiseg_service.settings import Limits

Fetch = Callable[[str, str], Awaitable[bytes]]
LARGE_BYTES = 2**20  # a smaller file does not wait for a larger one
# A JPEG with so little before its first scan, at most a thousand segments, is read faster than a thread is reached.
SMALL_BYTES, SMALL_HEAD_BYTES = 256 * 2**10, 4096


class Identified(NamedTuple):
    """The header of an image, and its id."""

    header: PictureHeader
    id: str


def read_header(image: bytes, limits: Limits) -> PictureHeader:
    """Read the header of a still image and check it against the limits; errors as `check_size`."""
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"image: {len(image):,} bytes came, at most {limits.max_image_bytes:,} are taken")
    try:
        header = headers.read_header(image)
    except PictureError as error:
        raise refusal_of(error) from None
    check_size(header.size, limits)
    return header


def decode(image: bytes, limits: Limits, short_side: int | None, header: PictureHeader | None = None) -> Picture:
    """Decode a still image, after its header has been checked; `short_side` as of `pictures.reader.read`."""
    if header is None or not header.is_whole:
        header = read_header(image, limits)
    else:
        check_size(header.size, limits)
    try:
        return reader.read(image, short_side, header)
    except PictureError as error:
        raise refusal_of(error) from None


def refusal_of(error: PictureError) -> ServiceError:
    """The error of a request with an image that cannot be read."""
    kind = UnsupportedImage if isinstance(error, UnsupportedPictureError) else UndecodableImage
    return kind(f"image: {error}")


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Check height and width. Raises TooLarge: too many pixels; InvalidValue: a side is too short."""
    height, width = size
    if height * width > limits.max_pixels:
        raise TooLarge(f"image: {width} x {height} pixels came, at most {limits.max_pixels:,} in all are taken")
    if min(height, width) < limits.min_side:
        raise InvalidValue.of("image", f"{width} x {height} pixels", f"sides of at least {limits.min_side} pixels")


def image_id_of(image: bytes) -> str:
    """The id of an image: 128 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(image).hexdigest()[:32]


class HeaderReader:
    """Reads headers, fairly between clients: on the event loop's own pool one client's would delay all others."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = FairExecutor("headers", 1)

    async def identify(self, image: bytes, client: str, deadline: float) -> Identified:
        """Read a client's still image. Raises DeadlineExceeded: the deadline, of time.monotonic(), passed."""

        def work() -> Identified:
            return Identified(read_header(image, self._limits), image_id_of(image))

        if len(image) <= SMALL_BYTES and image.startswith(b"\xff\xd8") and b"\xff\xda" in image[:SMALL_HEAD_BYTES]:
            return work()
        seconds = None if deadline == math.inf else deadline - time.monotonic()
        try:
            return await asyncio.wait_for(self._threads.call(client, work, large=len(image) > LARGE_BYTES), seconds)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the image waited for its header to be read") from None

    def close(self) -> None:
        self._threads.close()


class Images:
    """Puts images of any source into requests; `fetch` gets one by its URL, for a client."""

    def __init__(self, fetch: Fetch, headers: HeaderReader) -> None:
        self._fetch = fetch
        self._headers = headers

    async def with_image(self, request: WorkerRequest, source: ImageSource, field: str) -> WorkerRequest:
        """The request with an image, which is its own where the source is empty."""
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
