"""Photographs of a set that are equal or look alike: equal ones are used once, a split parts none that look alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import SampleError
from lexiseg_model.masks.encodings import labels_to_png
from lexiseg_train.data.alike import Miniature, alike_groups, miniature, split_groups
from lexiseg_train.data.indexed import IGNORE, read_photograph

GROUPS = "groups.json"  # in a set's folder: the group of each training photograph, by number


def unite(file: Path, mask: NDArray[np.uint8]) -> None:
    """Add to a written mask what another mask [H, W] of equal pixels knows; where they contradict it is IGNORE."""
    with Image.open(file) as picture:
        before = np.asarray(picture)
    after = np.where(before == IGNORE, mask, before)
    contradicted = (before != mask) & (before != IGNORE) & (mask != IGNORE)
    write_whole(file, labels_to_png(np.where(contradicted, IGNORE, after).astype(np.uint8)))


def validation_side(photographs: Sequence[Path], share: float) -> list[bool]:
    """Which photographs are for validation: an even selection of about a share in 0..1 that parts none that look alike.

    Of groups that are all larger than that share the smallest is taken. What cannot be read looks like no other.
    """
    every = max(2, round(1 / share))
    groups = _groups(photographs)
    sizes = Counter(groups)
    largest = max(-(-len(groups) // every), min(sizes.values(), default=0))
    fitting = [group for group, size in sizes.items() if size <= largest]  # in the order of the photographs
    held_out = set(fitting[::every])
    return [group in held_out for group in groups]


def _groups(photographs: Sequence[Path]) -> list[int]:
    """The group of each photograph that a split must not part."""
    miniatures: dict[int, Miniature] = {}
    for place, path in enumerate(photographs):
        with suppress(SampleError):
            miniatures[place] = miniature(read_photograph(path))
    groups = np.arange(len(photographs))
    readable = list(miniatures)
    groups[readable] = np.array(readable, np.int64)[alike_groups(list(miniatures.values()))]
    return [int(group) for group in split_groups(groups)]


class Looks:
    """What the photographs of a set look like, added in the order of their numbers."""

    def __init__(self) -> None:
        self._miniatures: dict[str, list[Miniature]] = {"train": [], "val": []}

    def add(self, split: str, photograph: NDArray[np.uint8]) -> None:
        """The next photograph [H, W, 3] of a split."""
        self._miniatures[split].append(miniature(photograph))

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write GROUPS into a set's folder; returns sentences about photographs that look alike."""
        train, val = self._miniatures["train"], self._miniatures["val"]
        groups = alike_groups([*train, *val])
        of_train = groups[: len(train)]
        parted = split_groups(of_train)
        write_whole(folder / GROUPS, json.dumps(parted.tolist()).encode())
        warnings = []
        if n_alike := int((parted != of_train).sum()):
            warnings.append(
                f"{n_alike} of {len(train)} photographs look alike, as a fixed camera's: figures hold for its view"
            )
        if n_known := int(np.isin(groups[len(train) :], of_train).sum()):
            warnings.append(
                f"{n_known} of {len(val)} validation photographs look like training ones: figures may be too high"
            )
        return tuple(warnings)
