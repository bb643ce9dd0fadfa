"""Sources of image-caption pairs, decoding of their photographs, and the record of what cannot be read.

Parts of a `PairSource` are what lies together on disk, such as a shard. Free of torch.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError, OptionError, SampleError
from lexiseg_train.data.files.runs import drop_partial_line
from lexiseg_train.data.indexed import read_content

MAX_BROKEN = 20  # in a row: with a third of all samples broken this happens once in 10^9
MAX_PIXELS = 64_000_000  # of a photograph; larger ones count as broken
Content = TypeVar("Content")


class StoredPair(NamedTuple):
    name: str
    photograph: bytes
    captions: tuple[str, ...]


class Skipped(NamedTuple):
    name: str
    reason: str


class PairSource(ABC):
    sizes: Sequence[int]  # pairs of each part
    damaged: Sequence[Skipped] = ()

    @abstractmethod
    def read(self, index: int) -> StoredPair:
        """One pair; the photograph is not decoded."""


class Joined(PairSource):
    """Several sources as one, part after part."""

    def __init__(self, sources: Sequence[PairSource]) -> None:
        self._sources = sources
        self.sizes = [size for source in sources for size in source.sizes]
        self.damaged = [skipped for source in sources for skipped in source.damaged]
        self._starts = [0, *accumulate(sum(source.sizes) for source in sources)]

    def read(self, index: int) -> StoredPair:
        owner = bisect_right(self._starts, index) - 1
        return self._sources[owner].read(index - self._starts[owner])


@dataclass
class Rewritten(PairSource):
    """A view of a source with changed pairs in the same parts."""

    source: PairSource

    def __post_init__(self) -> None:
        self.sizes, self.damaged = self.source.sizes, self.source.damaged


@dataclass
class Selection(Rewritten):
    """Some pairs of a source, by their `numbers` [N], ascending."""

    numbers: NDArray[np.int64]

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = np.searchsorted(self.numbers, np.cumsum(self.source.sizes))
        self.sizes = np.diff(ends, prepend=0).tolist()

    def read(self, index: int) -> StoredPair:
        return self.source.read(int(self.numbers[index]))


def set_apart(source: PairSource, n_pairs: int) -> tuple[Selection, Selection]:
    """Split a source at random into all but `n_pairs` pairs, and the `n_pairs`."""
    total = sum(source.sizes)
    if not 0 < n_pairs < total:
        raise OptionError(f"held_out: {n_pairs} pairs; expected 1 to {total - 1}, one less than there are")
    held_out, rest = np.split(np.random.default_rng(0).permutation(total), [n_pairs])
    return Selection(source, np.sort(rest)), Selection(source, np.sort(held_out))


def clean_captions(captions: Iterable[object]) -> tuple[str, ...]:
    """The texts among captions, stripped, each once, without halves of surrogate pairs: JSON may hold these."""
    texts = (each.encode(errors="ignore").decode().strip() for each in captions if isinstance(each, str))
    return tuple(dict.fromkeys(filter(None, texts)))


def decode(pair: StoredPair) -> NDArray[np.uint8]:
    """RGB [H, W, 3], upright. Raises SampleError: it is not an image, is cut off, or larger than MAX_PIXELS."""
    return read_content(pair.photograph, pair.name, MAX_PIXELS).rgb


class Skips:
    """Broken samples, each once, however often it is drawn; with a file, one JSON line each, kept over a resume."""

    def __init__(self, listing: Path | None = None) -> None:
        self._listing = listing
        self.reasons: dict[str, str] = {}
        if listing is not None:
            lines = drop_partial_line(listing).splitlines()
            self.reasons = {entry["name"]: entry["reason"] for entry in map(json.loads, lines)}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, skipped: Iterable[Skipped]) -> None:
        fresh = {entry.name: entry.reason for entry in skipped if entry.name not in self.reasons}
        self.reasons |= fresh
        if fresh and self._listing is not None:
            self._listing.parent.mkdir(parents=True, exist_ok=True)
            with self._listing.open("a") as lines:
                lines.writelines(json.dumps({"name": name, "reason": why}) + "\n" for name, why in fresh.items())

    def summary(self) -> str:
        """One line, such as `2 samples could not be read, such as a/000.jpg: cannot be read as an image`."""
        if not self.reasons:
            return "every sample could be read"
        name, reason = next(iter(self.reasons.items()))
        return f"{len(self):,} sample{'s' * (len(self) > 1)} could not be read, such as {name}: {reason}"


def readable_pairs(source: PairSource) -> Iterator[tuple[StoredPair, NDArray[np.uint8]]]:
    """Yield every pair that can be read, with its decoded photograph [H, W, 3], in order."""
    for index in range(sum(source.sizes)):
        try:
            pair = source.read(index)
            image = decode(pair)
        except SampleError:
            continue
        yield pair, image


def first_readable(
    first: int, read: Callable[[int], Content], other: Callable[[int], int]
) -> tuple[Content, tuple[Skipped, ...]]:
    """The content of sample `first`, or of the one by `other` after so many broken ones, with these."""
    skipped: list[Skipped] = []
    index = first
    while True:
        try:
            return read(index), tuple(skipped)
        except SampleError as error:
            skipped.append(Skipped(error.sample, error.reason))
        if len(skipped) > MAX_BROKEN:
            raise DatasetError(f"{len(skipped)} samples in a row cannot be read; the last: {': '.join(skipped[-1])}")
        index = other(len(skipped))
