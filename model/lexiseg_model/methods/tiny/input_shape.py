"""The shapes that images have as the network's input."""

from __future__ import annotations

from lexiseg_model.types import InputSize


def fitted(size: tuple[int, int], limits: InputSize, max_side: int | None) -> tuple[int, int]:
    """The input shape (height, width) for an image of `size`; sides are rounded, not padded."""
    long_side = limits.long_side
    if max_side is not None:  # whole multiples of it, or rounding could go beyond the cap
        long_side = min(long_side, max_side // limits.multiple * limits.multiple)
    factor = min(limits.short_side / min(size), long_side / max(size))
    height, width = (max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size)
    return height, width


def buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """Every input shape (height, width) of images up to `long_side / short_side` times as long as wide, 2.2 for tiny.

    Longer ones, panoramas and the like, have shapes of their own: their first image pass takes a little more.
    """
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))
