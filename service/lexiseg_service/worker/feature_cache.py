"""Features of images asked about before: a second question runs no image pass.

An entry belongs to the API key that sent the image: another key's same image is a miss, so that nobody learns what
others have sent. Bounded in bytes, the least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from lexiseg_model.features import Features

# Of an entry beside its numbers and its image: tensors, locks and dicts, and who has asked about it. Next to nothing of
# a photograph; of a thumbnail that is looked at in 32 pixels as much again.
BYTES_OF_AN_ENTRY = 9 * 2**10


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
        return self.features.nbytes + len(self.image) + BYTES_OF_AN_ENTRY


class _Held(NamedTuple):
    entry: Remembered
    nbytes: int  # when it was last weighed


class FeatureCache:
    """FeatureKey -> Remembered; safe to use from any thread.

    Features grow while they are used, by what is derived from them: whoever has used them has them weighed again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[FeatureKey, _Held] = OrderedDict()
        self._bytes = 0  # the sum of what is held, as last weighed
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held, as last weighed."""
        return self._bytes

    def find(self, key: FeatureKey) -> Remembered | None:
        """What is remembered under the key, which then counts as just used."""
        with self._guard:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            return held.entry

    def find_any(self, owner: str, image_id: str) -> Remembered | None:
        """What is remembered of an image, under whatever model and options it was sent."""
        with self._guard:
            for key, held in self._held.items():
                if key.owner == owner and key.image_id == image_id:
                    return held.entry
        return None

    def find_image(self, owner: str, image_id: str) -> bytes | None:
        """The encoded image, under whatever model and options it was sent."""
        entry = self.find_any(owner, image_id)
        return None if entry is None else entry.image

    def keep(self, key: FeatureKey, entry: Remembered) -> Remembered:
        """Remembers an entry; one that is larger than the whole cache is not kept.

        Returns:
            What is to be used from now on: of an image that several asked about at once, the features that came first,
            so that what is derived from them is made once.
        """
        with self._guard:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held.entry
            self._weigh(key, entry)
        return entry

    def weigh(self, key: FeatureKey) -> None:
        """Counts an entry's bytes anew, if it is still there, and lets others go for what it has grown by.

        One that has grown larger than the whole cache goes itself.
        """
        with self._guard:
            held = self._held.get(key)
            if held is not None:
                self._weigh(key, held.entry)

    def _weigh(self, key: FeatureKey, entry: Remembered) -> None:
        before = self._held.pop(key, None)
        self._bytes -= before.nbytes if before else 0
        nbytes = entry.nbytes
        if nbytes > self._max_bytes:
            return
        self._held[key] = _Held(entry, nbytes)
        self._bytes += nbytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
