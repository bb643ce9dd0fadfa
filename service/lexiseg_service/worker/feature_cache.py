"""Features of images asked about before: a second question runs no image pass.

An entry belongs to the API key that sent the image: the same image from another key is a miss, so that no client learns
what others have sent. An LRU, bounded by bytes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from lexiseg_model.features import Features
from lexiseg_service.worker.job import AnyJob

# Of an entry beside its numbers and its image: tensors, locks and dicts.
ENTRY_BYTES = 9 * 2**10


class FeatureKey(NamedTuple):
    """What the features of an image depend on, and their owner."""

    owner: str  # id of the API key, "" without keys
    image_id: str
    model_digest: str
    max_side: int | None


def key_of(job: AnyJob) -> FeatureKey:
    """The key of a job's image and options."""
    return FeatureKey(job.request.owner, job.image_id, job.loaded.segmenter.digest, job.request.max_side)


@dataclass(frozen=True)
class Remembered:
    """Features, and the encoded image for overlays."""

    features: Features
    image: bytes

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + len(self.image) + ENTRY_BYTES


class _Held(NamedTuple):
    entry: Remembered
    nbytes: int  # at the last weighing


class FeatureCache:
    """FeatureKey -> Remembered; safe to use from any thread.

    Features grow while they are used, by results derived from them: `weigh` an entry after each use.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[FeatureKey, _Held] = OrderedDict()
        self._bytes = 0  # of all entries, as last weighed
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all entries, as last weighed."""
        return self._bytes

    def find(self, key: FeatureKey) -> Remembered | None:
        """The entry of a key, which becomes the most recently used."""
        with self._guard:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            return held.entry

    def find_any(self, owner: str, image_id: str) -> Remembered | None:
        """An entry of an image, whatever its model and options."""
        with self._guard:
            for key, held in self._held.items():
                if key.owner == owner and key.image_id == image_id:
                    return held.entry
        return None

    def find_image(self, owner: str, image_id: str) -> bytes | None:
        """The encoded image, whatever the model and options."""
        entry = self.find_any(owner, image_id)
        return None if entry is None else entry.image

    def keep(self, key: FeatureKey, entry: Remembered) -> Remembered:
        """Add an entry; one that is larger than the whole cache is not kept.

        Returns:
            The entry to use from now on: the first one of several concurrent requests, so that results derived from
            its features are computed once.
        """
        with self._guard:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held.entry
            self._weigh(key, entry)
        return entry

    def weigh(self, key: FeatureKey) -> None:
        """Count an entry's bytes anew, if it is still there, and evict others as needed.

        An entry that has grown larger than the whole cache is removed itself.
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
