"""Small photographs kept in memory: a short run sees each many times, and decoding would cost more than learning."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.source import PairSource, Skipped, StoredPair

QUALITY = 92  # of the JPEG that stands in for a photograph


class Shrunk:
    """Pairs whose photographs have at most `side` pixels on their short side, each shrunk once per process."""

    def __init__(self, source: PairSource, side: int) -> None:
        self._source = source
        self._side = side
        self._kept: dict[tuple[int, int], StoredPair] = {}

    @property
    def sizes(self) -> Sequence[int]:
        return self._source.sizes

    @property
    def damaged(self) -> Sequence[Skipped]:
        return self._source.damaged

    def read(self, part: int, index: int) -> StoredPair:
        if (part, index) not in self._kept:
            self._kept[part, index] = self._shrunk(self._source.read(part, index))
        return self._kept[part, index]

    def _shrunk(self, pair: StoredPair) -> StoredPair:
        image = decode(pair)
        height, width = image.shape[:2]
        scale = min(1.0, self._side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        written = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        return pair._replace(photograph=written.tobytes())
