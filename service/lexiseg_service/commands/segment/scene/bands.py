"""Which bands of a picture are its colours, and how their numbers become 8 bits. By rule, so that windows agree.

- Colours are what `--bands` names; else the bands that the file calls red, green and blue; else the first three; of
  fewer than three the first, as gray. A palette is looked up. Alpha and nodata say which pixels there are.
- 8 bits stay as they are. Everything else is stretched, band by band, so that the 2nd percentile becomes 0 and the 98th
  255: of pixels from 64 places all over the picture, measured once. `--range LOW,HIGH` says it instead, for all bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import OptionError

PERCENTILES = 2.0, 98.0
PLACES, SIDE = 8, 128  # of the sample: so many squares along each side of the picture, of so many pixels


@dataclass(frozen=True)
class Bands:
    """`numbers` count from 1, three of them or one; `low` and `high` are of each, None of 8 bits that stay."""

    numbers: tuple[int, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    palette: NDArray[np.uint8] | None = None  # [256, 3]

    def to_rgb(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """[B, H, W] of the bands -> [H, W, 3]."""
        if self.palette is not None:
            looked_up: NDArray[np.uint8] = self.palette[pixels[0]]
            return looked_up
        if self.low is not None and self.high is not None:
            low = np.array(self.low, np.float32)[:, None, None]
            span = np.maximum(np.array(self.high, np.float32)[:, None, None] - low, 1e-12)
            real = np.nan_to_num(pixels.astype(np.float32), posinf=0.0, neginf=0.0)
            pixels = np.rint(((real - low) / span).clip(0, 1) * 255).astype(np.uint8)
        if len(pixels) == 1:
            pixels = np.repeat(pixels, 3, 0)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def bands_of(scene: Any, named: tuple[int, ...] | None, stretch: tuple[float, float] | None) -> Bands:
    """The rule above.

    Args:
        scene: an open rasterio dataset.
        named: of the user, from 1.
        stretch: of the user: what becomes 0 and 255.

    Raises:
        OptionError: there is no such band, or the numbers are complex.
    """
    if named is not None and not set(named) <= set(scene.indexes):
        raise OptionError(f"bands {', '.join(map(str, named))}; the picture has {scene.count}")
    numbers = named or _colours(scene)
    kinds = {np.dtype(scene.dtypes[number - 1]) for number in numbers}
    if any(kind.kind == "c" for kind in kinds):
        raise OptionError("the picture's numbers are complex; expected whole or real ones")
    palette = _palette(scene) if numbers == (1,) and named is None else None
    if palette is not None:
        return Bands(numbers, palette=palette)
    if stretch is not None:
        return Bands(numbers, (stretch[0],) * len(numbers), (stretch[1],) * len(numbers))
    if kinds == {np.dtype(np.uint8)}:
        return Bands(numbers)
    low, high = _percentiles(scene, numbers)
    return Bands(numbers, low, high)


def _colours(scene: Any) -> tuple[int, ...]:
    by_name = {colour.name: number for number, colour in zip(scene.indexes, scene.colorinterp, strict=True)}
    if {"red", "green", "blue"} <= by_name.keys():
        return by_name["red"], by_name["green"], by_name["blue"]
    shown = [number for number in scene.indexes if number != by_name.get("alpha")]
    return tuple(shown[:3]) if len(shown) >= 3 else (shown[0],)


def _palette(scene: Any) -> NDArray[np.uint8] | None:
    try:
        entries = scene.colormap(1)
    except ValueError:
        return None
    colours = np.zeros((256, 3), np.uint8)
    for value, colour in entries.items():
        if value < 256:
            colours[value] = colour[:3]
    return colours if scene.dtypes[0] == "uint8" else None


def _percentiles(scene: Any, numbers: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from rasterio.windows import Window

    height, width = scene.shape
    parts = []
    for top in np.linspace(0, max(0, height - SIDE), PLACES, dtype=int):
        for left in np.linspace(0, max(0, width - SIDE), PLACES, dtype=int):
            window = Window(int(left), int(top), min(SIDE, width), min(SIDE, height))
            there = scene.dataset_mask(window=window) > 0
            pixels = scene.read(list(numbers), window=window)[:, there].astype(np.float64)
            parts.append(pixels[:, np.isfinite(pixels).all(0)])
    sample = np.concatenate(parts, 1)
    if not sample.shape[1]:
        return (0.0,) * len(numbers), (1.0,) * len(numbers)
    low, high = np.percentile(sample, PERCENTILES, axis=1)
    return tuple(low.tolist()), tuple(high.tolist())
