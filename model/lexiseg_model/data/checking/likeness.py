"""Pictures that show the same, whatever their size, quality and name: hashes of 256 signs, and how many differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
WORDS = SIDE * SIDE // 64
ALIKE = 10  # signs of 256 that may differ; re-encoded and resized photographs differ in 0 to 6
ROWS = 1 << 22  # comparisons at a time

Hashes = NDArray[np.uint64]  # [N, WORDS]


def likeness(image: NDArray[np.uint8]) -> Hashes:
    """[WORDS]: where brightness rises from left to right, on a grid of 16 x 16.

    Args:
        image: [H, W, 3] RGB.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    cells = np.asarray(small, np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64)


def alike(first: Hashes, second: Hashes) -> list[tuple[int, int]]:
    """Pairs of rows, one of each, that show the same picture; [N, WORDS] against [M, WORDS]."""
    if not len(first) or not len(second):
        return []
    rows = max(1, ROWS // len(second))
    found: list[tuple[int, int]] = []
    for start in range(0, len(first), rows):
        differing = np.bitwise_count(first[start : start + rows, None] ^ second[None]).sum(2, dtype=np.int64)
        found += [(start + int(row), int(column)) for row, column in np.argwhere(differing <= ALIKE)]
    return found


def stacked(hashes: Sequence[Hashes]) -> Hashes:
    """[N, WORDS] of N hashes."""
    return np.array(hashes, np.uint64).reshape(-1, WORDS)
