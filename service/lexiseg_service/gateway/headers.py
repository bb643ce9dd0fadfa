"""Headers of images, read on a fair executor within the deadline.

Parsing holds the GIL for as long as `image.structure` allows; on the event loop's own pool one client's files would
delay Redis, keys and the images of all others.
"""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial

from lexiseg_model.pictures.header import PictureHeader
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.fair_executor import FairExecutor
from lexiseg_service.image.header import read_header
from lexiseg_service.settings import Limits

LARGE_BYTES = 2**20  # a smaller file does not wait for a larger one


class HeaderReader:
    """Reads the headers of images of many clients, fairly between them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = FairExecutor("headers", 1)

    async def read(self, image: bytes, client: str, deadline: float) -> PictureHeader:
        """The header of a still image.

        Args:
            image: the file.
            client: its sender.
            deadline: a time of time.monotonic().

        Raises:
            DeadlineExceeded: it passed.
            ServiceError: as `read_header`.
        """
        seconds = None if deadline == math.inf else deadline - time.monotonic()
        reading = self._threads.call(client, partial(read_header, image, self._limits), large=len(image) > LARGE_BYTES)
        try:
            return await asyncio.wait_for(reading, seconds)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the image waited for its header to be read") from None

    def close(self) -> None:
        """Drop what waits."""
        self._threads.close()
