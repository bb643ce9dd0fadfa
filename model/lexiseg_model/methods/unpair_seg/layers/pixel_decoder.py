"""Pixel decoder: deformable attention (arXiv 2010.04159, eq. 3) over three levels of CLIP, and one fine level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers.prompts import FourierPositions, cell_centres

Size = tuple[int, int]  # (height, width) of a level


class DeformableAttention(nn.Module):
    """Attention of every cell of several levels to `points` places a level and head, found by bilinear sampling."""

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.values = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._start()

    def _start(self) -> None:
        """Heads start out in directions of their own, the further the later the point; all places count the same."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        places = directions[:, None, None] * steps[:, None]  # [heads, 1, points, 2]
        with torch.no_grad():
            self.offsets.weight.zero_()
            self.offsets.bias.copy_(places.expand(-1, self.levels, -1, -1).flatten())
            for layer in (self.weights.weight, self.weights.bias, self.values.bias, self.output.bias):
                layer.zero_()
            nn.init.xavier_uniform_(self.values.weight)
            nn.init.xavier_uniform_(self.output.weight)

    def forward(self, queries: Tensor, references: Tensor, sources: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Attends.

        Args:
            queries: [N, Q, width].
            references: [Q, 2] (x, y) in 0..1 that the offsets start from.
            sources: [N, S, width], the levels one after the other, each row by row.
            sizes: (height, width) of each level; their cells are S together.

        Returns:
            [N, Q, width].
        """
        n, n_queries, width = queries.shape
        shape = (n, n_queries, self.heads, self.levels, self.points)
        extent = _extent(tuple(sizes), queries.dtype, queries.device)
        offsets = self.offsets(queries).view(*shape, 2) / extent[:, None]
        places = references[:, None, None, None] + offsets
        weights = self.weights(queries).view(*shape[:3], -1).softmax(-1).view(shape)
        values = self.values(sources).view(n, -1, self.heads, width // self.heads)
        attended: Tensor = self.output(sample_levels(values, sizes, places, weights))
        return attended


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # training reads them, too
def _extent(sizes: tuple[Size, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[levels, 2] (width, height); kept as `cell_centres` are."""
    return torch.tensor([(w, h) for h, w in sizes], dtype=dtype, device=device)


def sample_levels(values: Tensor, sizes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of values at places between the cells; nothing lies beyond the edges.

    Args:
        values: [N, S, heads, D] of all levels.
        sizes: (height, width) of each.
        places: [N, Q, heads, levels, points, 2] (x, y) in 0..1.
        weights: [N, Q, heads, levels, points].

    Returns:
        [N, Q, heads * D].
    """
    n, _, heads, depth = values.shape
    n_queries = places.shape[1]
    # A head is an image of its own: [N * heads, D, h, w] and places [N * heads, Q, points, 2].
    by_head = torch.split(values.permute(0, 2, 3, 1).flatten(0, 1), [h * w for h, w in sizes], -1)
    where = (2 * places - 1).transpose(1, 2).flatten(0, 1)
    share = weights.transpose(1, 2).flatten(0, 1)  # [N * heads, Q, levels, points]
    total = values.new_zeros(n * heads, depth, n_queries)
    for level, size in enumerate(sizes):
        sampled = F.grid_sample(
            by_head[level].reshape(n * heads, depth, *size), where[:, :, level], align_corners=False
        )
        total = total + (sampled * share[:, None, :, level]).sum(-1)
    return total.view(n, heads * depth, n_queries).transpose(1, 2)


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
