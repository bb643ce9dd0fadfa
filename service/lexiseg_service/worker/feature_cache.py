"""Features of images asked about before: a second question runs no image pass.

An entry belongs to the API key that sent the image: the same image from another key is a miss, so that no client learns
what others have sent. An LRU, bounded by bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.pictures.colours import Note
from lexiseg_model.resources.lru import Lru
from lexiseg_service.worker.job import AnyJob

# Of an entry in addition to its numbers and its image: tensors, locks and dicts.
ENTRY_BYTES = 9 * 2**10


class FeatureKey(NamedTuple):
    """Cache key: everything that the features of an image depend on, and their owner."""

    owner: str  # id of the API key, "" without keys
    image_id: str
    model_digest: str
    options: InferenceOptions


@dataclass(frozen=True)
class Remembered:
    """Features, the encoded image for overlays, and what its decoder had to guess."""

    features: Features
    image: bytes
    notes: tuple[Note, ...] = ()

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + len(self.image) + ENTRY_BYTES


def _others(options: InferenceOptions) -> tuple[list[InferenceOptions], list[InferenceOptions]]:
    """The options whose features hold more than those of `options`, the most first, and whose hold less."""
    fine = replace(options, teaching=True, fine=True)
    all_ = [fine, replace(fine, fine=False), replace(fine, teaching=False, fine=False)]
    place = all_.index(options)
    return all_[:place], all_[place + 1 :]


class FeatureCache(Lru[FeatureKey, Remembered]):
    """Thread-safe; features grow by results derived from them: `weigh` an entry after each use."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, lambda _, entry: entry.nbytes)

    def key_of(self, job: AnyJob) -> FeatureKey:
        """The key of a job's image and options; features with what teaching or its detail needs serve others, too."""
        key = FeatureKey(job.request.owner, job.image_id, job.loaded.segmenter.digest, job.options)
        richer, _ = _others(job.options)
        keys = (key._replace(options=options) for options in richer)
        return next((each for each in keys if self.get(each) is not None), key)

    def find_any(self, owner: str, image_id: str) -> Remembered | None:
        entries = (entry for key, entry in self.items() if (key.owner, key.image_id) == (owner, image_id))
        return next(entries, None)

    def add(self, key: FeatureKey, entry: Remembered) -> Remembered:
        """Add an entry; returns the first one of concurrent requests, so that what is derived is computed once."""
        first = self.get(key)
        if first is None:
            self.put(key, entry)
            _, poorer = _others(key.options)
            for options in poorer:
                self.drop(key._replace(options=options))
        return first or entry

    def weigh(self, key: FeatureKey) -> None:
        """Count an entry's bytes anew, if it is still there."""
        if (entry := self.get(key)) is not None:
            self.put(key, entry)
