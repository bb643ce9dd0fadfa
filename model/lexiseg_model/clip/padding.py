"""Windows whose sides are no whole patches: zeros around the normalised image, cut off the maps again."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


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
