"""From CLIP's feature maps to features for masks: deformable attention over three levels, one fine level on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers.deformable import DeformableAttention, Size
from lexiseg_model.methods.unpair_seg.layers.positions import FourierPositions, cell_centres

CHANNEL_NORM_EPS = 1e-6  # of the norms behind the input convolutions; all other norms have torch's 1e-5
NORM_GROUPS = 32
POINTS = 4  # places a head looks at, on each level


class PixelFeatures(NamedTuple):
    """`masks` [N, C, H/4, W/4]; `levels`: [N, C, h, w] at strides 32, 16 and 8, coarse to fine."""

    masks: Tensor
    levels: tuple[Tensor, ...]


class EncoderLayer(nn.Module):
    """Deformable attention over all levels, then a feed-forward layer; a norm behind each."""

    def __init__(self, width: int, heads: int, levels: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads, levels, POINTS)
        self.attention_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feed_forward)
        self.down = nn.Linear(feed_forward, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, cells: Tensor, positions: Tensor, references: Tensor, sizes: Sequence[Size]) -> Tensor:
        """[N, S, width] -> same; positions [S, width], references [S, 2]."""
        cells = self.attention_norm(cells + self.attention(cells + positions, references, cells, sizes))
        encoded: Tensor = self.norm(cells + self.down(F.relu(self.up(cells))))
        return encoded


class NormedConvolution(nn.Module):
    """Convolution without a bias, then a group norm: [N, C, h, w] -> [N, width, h, w]."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(NORM_GROUPS, width)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, width, h, w]."""
        normed: Tensor = self.norm(self.conv(maps))
        return normed


class PixelDecoder(nn.Module):
    """Image maps of four strides to `PixelFeatures`. float32 throughout, under autocast too.

    Args of the constructor: channels of the maps at strides 4, 8, 16, 32; width of everything inside.
    """

    def __init__(
        self,
        channels: Sequence[int] = (192, 384, 768, 1536),
        width: int = 256,
        heads: int = 8,
        depth: int = 6,
        feed_forward: int = 1024,
    ) -> None:
        super().__init__()
        fine, *coarse = channels
        self.positions = FourierPositions(width)
        self.inputs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, width, 1), LayerNorm2d(width, eps=CHANNEL_NORM_EPS))
            for each in reversed(coarse)
        )
        self.level = nn.Parameter(torch.randn(len(coarse), width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, len(coarse), feed_forward) for _ in range(depth))
        self.lateral = NormedConvolution(fine, width, 1)
        self.smooth = NormedConvolution(width, width, 3)
        self.to_masks = nn.Conv2d(width, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """[N, channels, h, w] at strides 4, 8, 16, 32 -> `masks` [N, width, H/4, W/4], `levels` at 32, 16, 8."""
        # Places between cells are found to a small part of a pixel: half precision loses them.
        with torch.autocast(maps[0].device.type, enabled=False):
            fine, *coarse = (each.float() for each in maps)
            levels = self._encode([project(each) for project, each in zip(self.inputs, reversed(coarse), strict=True)])
            size = (fine.shape[2], fine.shape[3])
            lifted = F.interpolate(levels[-1], size=size, mode="bilinear", align_corners=False)
            merged = F.relu(self.smooth(self.lateral(fine) + lifted))
            return PixelFeatures(self.to_masks(merged), tuple(levels))

    def _encode(self, levels: list[Tensor]) -> list[Tensor]:
        """Lets three levels see each other."""
        sizes = [(each.shape[2], each.shape[3]) for each in levels]
        cells = torch.cat([each.flatten(2).transpose(1, 2) for each in levels], 1)  # [N, S, width]
        positions = torch.cat(
            [self.positions.grid(*size) + level for size, level in zip(sizes, self.level, strict=True)]
        )
        references = torch.cat([cell_centres(*size, cells.device) for size in sizes]).to(cells)
        for layer in self.layers:
            cells = layer(cells, positions, references, sizes)
        parts = torch.split(cells.transpose(1, 2), [h * w for h, w in sizes], -1)
        return [part.reshape(*part.shape[:2], *size) for part, size in zip(parts, sizes, strict=True)]
