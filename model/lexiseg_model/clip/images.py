"""Normalise images for a tower, and pad them to whole patches."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.resources.device import widest_float

Normalisation = Literal["clip", "clip_rounded", "imagenet", "unit"]


class Statistics(NamedTuple):
    """Mean and standard deviation of 0..255 RGB."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def _of_unit_range(mean: tuple[float, ...], std: tuple[float, ...]) -> Statistics:
    red, green, blue = (255 * value for value in mean)
    return Statistics((red, green, blue), (255 * std[0], 255 * std[1], 255 * std[2]))


STATISTICS: dict[Normalisation, Statistics] = {
    # OpenAI CLIP's, as open_clip has them.
    "clip": _of_unit_range((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    # The same with three decimals: the configurations of SCLIP, NACLIP and ProxyCLIP.
    "clip_rounded": Statistics((122.771, 116.746, 104.094), (68.501, 66.632, 70.323)),
    # TCL, a legacy of GroupViT's data pipeline; DINO and DINOv2 as well.
    "imagenet": _of_unit_range((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Colours in 0..1: TIPSv2.
    "unit": _of_unit_range((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def normalise(pixels: Tensor, normalisation: Normalisation) -> Tensor:
    """(pixels - mean) / std of 0..255 RGB [N, 3, H, W] to float32; rounded once, from float64."""
    mean, std = _statistics(normalisation, pixels.device)
    return ((pixels.to(mean.dtype) - mean) / std).float()


@lru_cache
@torch.inference_mode(False)  # training reads them, too
def _statistics(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """[3, 1, 1] each. Cached: a copy to a GPU waits for its work, and cannot be captured in a graph."""
    mean, std = (torch.tensor(row, dtype=widest_float(device), device=device) for row in STATISTICS[normalisation])
    return mean.view(3, 1, 1), std.view(3, 1, 1)


class Padding(NamedTuple):
    """Pixels added on each side."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def to_multiple(cls, size: tuple[int, int], multiple: int) -> Padding:
        """Symmetric; an odd pixel goes to the bottom or the right."""
        down, across = (-side % multiple for side in size)
        return cls(down // 2, across // 2, down - down // 2, across - across // 2)

    def padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size with the padding."""
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right

    def add(self, images: Tensor) -> Tensor:
        """[B, C, H, W] with zeros around: of normalised images the mean colour."""
        return F.pad(images, (self.left, self.right, self.top, self.bottom))

    def crop(self, maps: Tensor) -> Tensor:
        """[..., H, W] without the padding."""
        height, width = maps.shape[-2:]
        return maps[..., self.top : height - self.bottom, self.left : width - self.right]

    def over(self, factor: int) -> Padding:
        """The same in cells of `factor` pixels, where they divide."""
        return Padding(*(side // factor for side in self))


def prepare_tiles(tiles: Tensor, multiple: int, normalisation: Normalisation, dtype: torch.dtype) -> Tensor:
    """Tiles uint8 [N, 3, s, t] normalised, padded with the mean colour to multiples of pixels, in a number type."""
    padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), multiple)
    return padding.add(normalise(tiles, normalisation)).to(dtype)
