"""Which photographs are equal, and which look alike: copies that were stored again, bursts, a fixed camera.

Of a set equal ones are used once, and a split parts none that look alike.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import SampleError
from lexiseg_model.files.names import pictures_in
from lexiseg_model.masks.encodings import labels_to_png
from lexiseg_train.data.indexed import IGNORE, read_photograph

SIDE, DETAIL_SIDE = 16, 48  # cells of a grid
ALIKE = 4.0  # largest mean difference, in gray levels of 256, of miniatures of photographs that look alike
MAX_DIFFERENCE = 10  # of the 256 bits of a hash; re-encoded and resized photographs differ in 0 to 6
SAME = 12.0, 32.0  # levels of gray and of a colour by which a cell may leave the range of its neighbours in a copy
Photograph = NDArray[np.uint8]  # [H, W, 3]
Hash = NDArray[np.uint64]  # [4], 256 bits
Miniature = NDArray[np.float32]  # [SIDE * SIDE] gray levels
GROUPS = "groups.json"  # in a set's folder: the group of each training photograph, by number


def pixel_digest(photograph: Photograph) -> str:
    """SHA-256 of the size and the pixels: two photographs are equal, or they are not."""
    return hashlib.sha256(str(photograph.shape).encode() + np.ascontiguousarray(photograph).tobytes()).hexdigest()


def perceptual_hash(photograph: Photograph) -> Hash:
    """Where brightness rises from left to right on a grid: nearly equal for one picture of another size or file."""
    small = Image.fromarray(photograph).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    cells = np.asarray(small, np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64)


def are_copies(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether hashes [..., 4] are of one picture; broadcasts."""
    copies: NDArray[np.bool_] = np.bitwise_count(one ^ other).sum(-1, dtype=np.int64) <= MAX_DIFFERENCE
    return copies


def detail(photograph: Photograph) -> NDArray[np.float32]:
    """Mean levels [DETAIL_SIDE, DETAIL_SIDE, 4] of gray and colours of a photograph's cells, for `show_the_same`."""
    colours = cv2.resize(photograph.astype(np.float32), (DETAIL_SIDE, DETAIL_SIDE), interpolation=cv2.INTER_AREA)
    return np.dstack([_cells(photograph, DETAIL_SIDE), colours]).astype(np.float32)


def show_the_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether the `detail` of two photographs is one picture's, stored again, and not two of a fixed camera's."""
    gray, *colours = np.maximum(_beyond(one, other), _beyond(other, one)).tolist()
    return bool(gray <= SAME[0] and max(colours) <= SAME[1])


def _beyond(cells: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far cells are outside of the range of the other's neighbourhood of each, at most, by channel."""
    around = np.ones((3, 3), np.uint8)
    beyond: NDArray[np.float32] = np.maximum(cells - cv2.dilate(others, around), cv2.erode(others, around) - cells)
    most: NDArray[np.float32] = beyond.max((0, 1))
    return most


def _cells(photograph: Photograph, side: int) -> NDArray[np.float32]:
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def miniature(photograph: Photograph) -> Miniature:
    return _cells(photograph, SIDE).reshape(-1)


def alike_groups(miniatures: Sequence[Miniature]) -> NDArray[np.int64]:
    """[P] a number for each photograph, equal for alike ones, directly or by way of others."""
    count = len(miniatures)
    group = np.arange(count)
    rows = np.stack(miniatures) if count else np.zeros((0, SIDE * SIDE), np.float32)
    means = rows.mean(1)
    order = np.argsort(means)
    # The mean difference is at least that of the means, and that of coarser cells: few are compared in full.
    coarse = rows.reshape(count, 4, SIDE // 4, 4, SIDE // 4).mean((2, 4)).reshape(count, 16)
    ends = np.searchsorted(means[order], means[order] + ALIKE, "right")
    for place, index in enumerate(order.tolist()):
        others = order[place + 1 : ends[place]]
        others = others[group[others] != group[index]]
        others = others[np.abs(coarse[others] - coarse[index]).mean(1) <= ALIKE]
        close = others[np.abs(rows[others] - rows[index]).mean(1) <= ALIKE]
        if len(close):
            group[np.isin(group, group[close])] = group[index]
    return group


def split_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups [P] of which a split may part none; one of more than half of all, as of a fixed camera, is resolved."""
    counts = np.bincount(groups, minlength=len(groups))
    large = counts[groups] > max(len(groups) / 2, 1)
    return np.where(large, np.arange(len(groups)) + len(groups), groups)


class HeldOut:
    """The photographs of all validation splits below a folder, which no training may see.

    Of other sets copies of other sizes count, too; of a set itself, where a fixed camera's look alike, only equal ones.
    """

    def __init__(self, data: Path, own: str, others: Iterable[Path] = ()) -> None:
        """Read `val/images` of all sets below `data`; `others` are further photographs of the set `own` to withhold."""
        self._equal = {pixel_digest(read_photograph(path)) for path in others}
        hashes = []
        for images in sorted(data.glob("*/val/images")):
            for path in pictures_in(images):
                photograph = read_photograph(path)
                if images.parents[1].name == own:
                    self._equal.add(pixel_digest(photograph))
                else:
                    hashes.append(perceptual_hash(photograph))
        self._hashes = np.array(hashes, np.uint64).reshape(-1, SIDE * SIDE // 64)
        self.n_withheld = 0

    def withholds(self, photograph: Photograph) -> bool:
        """Whether a photograph is one of them; if so it is counted in `n_withheld`."""
        copied = are_copies(self._hashes, perceptual_hash(photograph)).any()
        there = bool(copied) or pixel_digest(photograph) in self._equal
        self.n_withheld += there
        return there


def unite(file: Path, mask: NDArray[np.uint8]) -> None:
    """Add to a written mask what another mask [H, W] of equal pixels knows; where they contradict it is IGNORE."""
    with Image.open(file) as picture:
        before = np.asarray(picture)
    after = np.where(before == IGNORE, mask, before)
    contradicted = (before != mask) & (before != IGNORE) & (mask != IGNORE)
    write_whole(file, labels_to_png(np.where(contradicted, IGNORE, after).astype(np.uint8)))


def validation_side(photographs: Sequence[Path], share: float) -> list[bool]:
    """Which photographs are for validation: about a share in 0..1, evenly, that parts none that look alike."""
    every = max(2, round(1 / share))
    miniatures: dict[int, Miniature] = {}
    for place, path in enumerate(photographs):
        with suppress(SampleError):
            miniatures[place] = miniature(read_photograph(path))
    alike, readable = np.arange(len(photographs)), np.array([*miniatures], np.int64)
    alike[readable] = readable[alike_groups([*miniatures.values()])]
    groups = split_groups(alike).tolist()
    sizes = Counter(groups)
    largest = max(-(-len(groups) // every), min(sizes.values(), default=0))
    fitting = [group for group, size in sizes.items() if size <= largest]  # in the order of the photographs
    held_out = set(fitting[::every])
    return [group in held_out for group in groups]


def write_groups(folder: Path, train: Sequence[Miniature], val: Sequence[Miniature]) -> tuple[str, ...]:
    """Write GROUPS into the folder of a set with such photographs; returns sentences about ones that look alike."""
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
