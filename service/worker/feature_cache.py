"""Features of images asked about before: a second question runs no image pass.

An entry belongs to the API key that sent the image: another key's same image is a miss, so that nobody learns what
others have sent. Bounded in bytes, the least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from model.segmenter import Features


class FeatureKey(NamedTuple):
    """What the features of an image depend on, and whose they are."""

    owner: str  # id of the API key, "" without keys
    image_id: str
    model_digest: str
    max_side: int | None


@dataclass(frozen=True)
class Remembered:
    """Features, and the encoded image that an overlay is painted on."""

    features: Features
    image: bytes

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + len(self.image)


class FeatureCache:
    """FeatureKey -> Remembered; safe to use from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[FeatureKey, Remembered] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def find(self, key: FeatureKey) -> Remembered | None:
        """What is remembered under the key, which then counts as just used."""
        with self._guard:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def find_image(self, owner: str, image_id: str) -> bytes | None:
        """The encoded image, under whatever model and options it was sent."""
        with self._guard:
            for key, entry in self._entries.items():
                if key.owner == owner and key.image_id == image_id:
                    return entry.image
        return None

    def keep(self, key: FeatureKey, entry: Remembered) -> None:
        """Remembers an entry; one that is larger than the whole cache is not kept."""
        if entry.nbytes > self._max_bytes:
            return
        with self._guard:
            known = self._entries.pop(key, None)
            self._bytes += entry.nbytes - (known.nbytes if known else 0)
            self._entries[key] = entry
            while self._bytes > self._max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1].nbytes
