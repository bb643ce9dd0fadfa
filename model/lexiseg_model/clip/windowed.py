"""Sliding windows of the CLIP family: an image cut into windows of a canvas, and their scores merged.

The *canvas* is the resized image. Exact, its sides follow the published protocol and window scores are averaged pixel
by pixel. Fast, its sides are whole patches and scores are averaged on every `LATTICE`-th pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import InputSize
from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures, picture_size
from lexiseg_model.types import Precision

Pixels = TypeVar("Pixels", Tensor, NDArray[np.uint8])
LATTICE = 4  # pixels of the canvas per score, when fast


def require_windows(window: int | None, stride: int | None) -> None:
    """Check a card's windows in pixels; ValueError where one of the two is missing, or windows leave gaps."""
    if (window is None) != (stride is None):
        raise ValueError("window and stride come together, or neither")
    if window is not None and stride is not None and stride > window:
        raise ValueError(f"stride {stride} beyond window {window} leaves gaps")


def plan_windows(
    rgb: NDArray[np.uint8],
    limits: InputSize,
    window: int | None,
    stride: int | None,
    options: InferenceOptions = InferenceOptions(),
    precision: Precision = "exact",
) -> Plan:
    """Resize an image to its canvas and lay windows over it.

    Args:
        rgb: [H, W, 3].
        limits: sides of the canvas: the shorter side is `short_side` unless the longer would exceed `long_side`.
        window: side of a window in pixels; None takes the whole canvas as one tile.
        stride: step between windows.
        options: `max_side` caps the longer side of the canvas.
        precision: exact takes the protocol's sides, int(side * factor + 0.5); fast the nearest multiples.

    Raises:
        ShapeError: rgb is not a non-empty uint8 [H, W, 3].
    """
    size = picture_size(rgb)
    multiple = 1 if precision == "exact" else limits.multiple
    most = limits.long_side if options.max_side is None else options.max_side // multiple * multiple
    factor = min(min(limits.long_side, most) / max(size), limits.short_side / min(size))
    height, width = (max(multiple, int(side * factor / multiple + 0.5) * multiple) for side in size)
    canvas = height, width
    # Bilinear without smoothing, also when the image shrinks: what the weights were measured with.
    resized = rgb if canvas == size else cv2.resize(rgb, canvas[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)
    if window is None or stride is None:
        return Plan(size, pixels[None], Layout(canvas, canvas))
    layout = place_windows(canvas, window, stride)
    return Plan(size, np.stack([*windows_of(pixels, layout)]), layout)


def place_windows(canvas: tuple[int, int], window: int, stride: int) -> Layout:
    """Place windows in the grid of mmsegmentation's sliding inference, row by row.

    The last ones are shifted back to end with the canvas, and windows are clipped to a smaller canvas.
    """
    height, width = tile = (min(window, canvas[0]), min(window, canvas[1]))
    tops, lefts = (
        [min(index * stride, length - side) for index in range(max(length - side + stride - 1, 0) // stride + 1)]
        for length, side in ((canvas[0], height), (canvas[1], width))
    )
    return Layout(canvas, tile, tuple((top, left) for top in tops for left in lefts))


def layout_of(image: Plan | Features) -> Layout:
    """Layout of an image's tiles; without one there is a single tile, and it is the canvas."""
    whole = image.bucket if isinstance(image, Plan) else image.size
    return image.layout or Layout(whole, whole)


def canvas_of(plan: Plan) -> Tensor:
    """The canvas uint8 [3, H, W] back from its windows."""
    layout = layout_of(plan)
    canvas = np.empty((3, *layout.canvas), np.uint8)
    height, width = layout.tile
    for tile, (top, left) in zip(plan.tiles, layout.offsets, strict=True):
        canvas[:, top : top + height, left : left + width] = tile
    return torch.from_numpy(canvas)


def windows_of(canvas: Pixels, layout: Layout) -> Iterator[Pixels]:
    """Each window [C, h, w] of a canvas [C, H, W]."""
    height, width = layout.tile
    for top, left in layout.offsets:
        yield canvas[:, top : top + height, left : left + width]


def merge(scores: Iterable[Tensor], layout: Layout, precision: Precision) -> Tensor:
    """Mean of window scores [K, h, w] over the canvas, bilinear; fast: on a `LATTICE`-th of it along each side."""
    if precision == "fast":
        layout = _coarser(layout, LATTICE)
    return mean_of_windows((resize(each, layout.tile) for each in scores), layout)


def join_windows(parts: Iterable[Tensor], layout: Layout, side: int) -> Tensor:
    """Mean of windows' patches [D, h, w] of `side` pixels over the canvas: [D, H, W]. All lengths are whole patches."""
    return mean_of_windows((each.float() for each in parts), _coarser(layout, side))


def mean_of_windows(scores: Iterable[Tensor], layout: Layout) -> Tensor:
    """Mean float32 [K, H, W] over the canvas of the scores [K, h, w] of every window, in order and at its size."""
    total, hits = None, torch.zeros(layout.canvas)
    for score, (top, left) in zip(scores, layout.offsets, strict=True):
        if total is None:
            total = score.new_zeros((len(score), *layout.canvas), dtype=torch.float32)
        place = slice(top, top + layout.tile[0]), slice(left, left + layout.tile[1])
        total[:, *place] += score
        hits[place] += 1
    assert total is not None
    return total.div_(hits.to(total.device))


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps [K, h, w] bilinearly with half-pixel centres."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def as_kept(features: TileFeatures, precision: Precision) -> TileFeatures:
    """Copies of features, in the number type that is cached."""
    dtype = torch.float32 if precision == "exact" else torch.float16
    return tuple(part.to(dtype, copy=True) for part in features)


def _coarser(layout: Layout, side: int) -> Layout:
    """A layout in cells of `side` pixels."""
    canvas, tile, *offsets = ((y // side, x // side) for y, x in (layout.canvas, layout.tile, *layout.offsets))
    return Layout(canvas, tile, tuple(offsets))
