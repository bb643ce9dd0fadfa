"""Small photographs kept in memory: a short run sees each many times, and decoding would cost more than learning."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.source import PairSource, Skipped, StoredPair

QUALITY = 92  # of the JPEG that stands in for a photograph
MOST_BYTES = 1 << 30  # of photographs in memory; of more, the rest is shrunk anew each time


class Shrunk:
    """Pairs whose photographs have at most `side` pixels on their short side, each shrunk once per process.

    As far as there is room: a process holds no more than `most_bytes` of them.
    """

    def __init__(self, source: PairSource, side: int, most_bytes: int = MOST_BYTES) -> None:
        self._source = source
        self._side = side
        self._room = most_bytes
        self._kept: dict[tuple[int, int], StoredPair] = {}

    @property
    def sizes(self) -> Sequence[int]:
        return self._source.sizes

    @property
    def damaged(self) -> Sequence[Skipped]:
        return self._source.damaged

    def read(self, part: int, index: int) -> StoredPair:
        if (kept := self._kept.get((part, index))) is not None:
            return kept
        pair = self._shrunk(self._source.read(part, index))
        if len(pair.photograph) <= self._room:
            self._room -= len(pair.photograph)
            self._kept[part, index] = pair
        return pair

    def _shrunk(self, pair: StoredPair) -> StoredPair:
        image = decode(pair)
        height, width = image.shape[:2]
        scale = min(1.0, self._side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        written = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        return pair._replace(photograph=written.tobytes())
