"""How large an image is, told in a gateway before a worker has it.

Of files in which nothing is unusual it is told at once. A parser takes up to a tenth of a second for some of the
others, and holds Python's lock for part of that: one of them at a time is read in a thread, clients in turns.
"""

from __future__ import annotations

from functools import partial

from lexiseg_service.gateway.turns import Lane
from lexiseg_service.image.header import read_at_once, read_header
from lexiseg_service.settings import Limits


class Headers:
    """Of the images of all clients.

    Args:
        limits: that every image must keep.
        lane: where those are read that take longer.
    """

    def __init__(self, limits: Limits, lane: Lane | None = None) -> None:
        self._limits = limits
        self._lane = lane or Lane()

    async def size(self, image: bytes, client: str) -> tuple[int, int]:
        """(height, width) as shown.

        Raises:
            ServiceError: as `read_header`.
        """
        header = read_at_once(image, self._limits)
        if header is None:
            header = await self._lane.done(client, partial(read_header, image, self._limits))
        return header.size
