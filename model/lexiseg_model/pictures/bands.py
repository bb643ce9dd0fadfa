"""Bands of rows of a picture: work in them bounds the memory of intermediates."""

from __future__ import annotations

from collections.abc import Iterator

BAND_PIXELS = 1 << 18  # output pixels of a band


def bands(size: tuple[int, ...]) -> Iterator[slice]:
    """Bands of rows of an output of `size` (H, W, ...), from top to bottom."""
    step = max(1, BAND_PIXELS // size[1])
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))
