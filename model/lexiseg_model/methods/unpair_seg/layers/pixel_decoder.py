"""Pixel decoder: deformable attention (arXiv 2010.04159, eq. 3) over three levels of CLIP, and one fine level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers.prompts import FourierPositions, cell_centres
from lexiseg_model.methods.unpair_seg.settings import GROUPS, POINTS

Size = tuple[int, int]  # (height, width) of a level
CHANNEL_NORM_EPS = 1e-6  # of the norms after the input convolutions; all other norms have torch's 1e-5


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention: each query samples `points` places per level and head bilinearly."""

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._start()

    def _start(self) -> None:
        """Initialise as Deformable DETR: one direction per head, distances growing with the point, equal weights."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        places = directions[:, None, None] * steps[:, None]  # [heads, 1, points, 2]
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(places.expand(-1, self.levels, -1, -1).flatten())
            self.attention_weights.weight.zero_()
            for layer in (self.attention_weights, self.value_proj, self.output_proj):
                layer.bias.zero_()
            nn.init.xavier_uniform_(self.value_proj.weight)
            nn.init.xavier_uniform_(self.output_proj.weight)

    def forward(self, queries: Tensor, references: Tensor, sources: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Attend from queries [N, Q, width] to all levels in order, [N, S, width]; `references` [Q, 2] (x, y) are in
        0..1."""
        n, n_queries, width = queries.shape
        shape = (n, n_queries, self.heads, self.levels, self.points)
        extent = queries.new_tensor([(w, h) for h, w in sizes])
        offsets = self.sampling_offsets(queries).view(*shape, 2) / extent[:, None]
        places = references[:, None, None, None] + offsets
        weights = self.attention_weights(queries).view(*shape[:3], -1).softmax(-1).view(shape)
        values = self.value_proj(sources).view(n, -1, self.heads, width // self.heads)
        attended: Tensor = self.output_proj(sample_levels(values, sizes, places, weights))
        return attended


def sample_levels(values: Tensor, sizes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Sum [N, Q, heads * D] of samples of cells [N, S, heads, D] at places (x, y) in 0..1, zero beyond the edges."""
    n, _, heads, depth = values.shape
    n_queries = places.shape[1]
    # Each head is sampled as a separate image [N * heads, D, h, w] at places [N * heads, Q, points, 2].
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


class PixelFeatures(NamedTuple):
    """Maps of N images: `masks` [N, C, H/4, W/4], and `levels` [N, C, h, w] at strides 32, 16 and 8."""

    masks: Tensor
    levels: tuple[Tensor, ...]


class EncoderLayer(nn.Module):
    """Deformable attention over all levels, then a feed-forward layer, each with a residual and a final norm."""

    def __init__(self, width: int, heads: int, levels: int, feed_forward: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, heads, levels, POINTS)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, feed_forward)
        self.linear2 = nn.Linear(feed_forward, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, cells: Tensor, positions: Tensor, references: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Encode cells [N, S, width] with positions [S, width] and references [S, 2]: [N, S, width]."""
        cells = self.norm1(cells + self.self_attn(cells + positions, references, cells, sizes))
        encoded: Tensor = self.norm2(cells + self.linear2(F.relu(self.linear1(cells))))
        return encoded


class LevelEncoder(nn.Module):
    """Transformer encoder over the cells of all levels."""

    def __init__(self, width: int, heads: int, levels: int, depth: int, feed_forward: int) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(levels, width))
        layers = nn.ModuleList(EncoderLayer(width, heads, levels, feed_forward) for _ in range(depth))
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, levels: Sequence[Tensor], positions: FourierPositions) -> list[Tensor]:
        """Encode the levels [N, width, h, w]; shapes stay."""
        sizes = [(each.shape[2], each.shape[3]) for each in levels]
        cells = torch.cat([each.flatten(2).transpose(1, 2) for each in levels], 1)  # [N, S, width]
        places = torch.cat([positions.grid(*size) + mark for size, mark in zip(sizes, self.level_embed, strict=True)])
        references = torch.cat([cell_centres(*size, cells.device) for size in sizes]).to(cells)
        for layer in cast(nn.ModuleList, self.encoder["layers"]):
            cells = layer(cells, places, references, sizes)
        parts = torch.split(cells.transpose(1, 2), [h * w for h, w in sizes], -1)
        return [part.reshape(*part.shape[:2], *size) for part, size in zip(parts, sizes, strict=True)]


class FusionConvolution(nn.Conv2d):
    """Convolution without a bias, then a group norm."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, width)

    def forward(self, input: Tensor) -> Tensor:
        """Maps [N, width, h, w] of maps [N, C, h, w]."""
        normed: Tensor = self.norm(super().forward(input))
        return normed


class PixelDecoder(nn.Module):
    """`PixelFeatures` from image maps of strides 4, 8, 16 and 32, in float32 even under autocast."""

    def __init__(self, channels: Sequence[int], width: int, heads: int, depth: int, feed_forward: int) -> None:
        super().__init__()
        fine, *coarse = channels
        self.pe_layer = FourierPositions(width)
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, width, 1), LayerNorm2d(width, eps=CHANNEL_NORM_EPS))
            for each in reversed(coarse)
        )
        self.transformer = LevelEncoder(width, heads, len(coarse), depth, feed_forward)
        self.adapter_1 = FusionConvolution(fine, width, 1)
        self.layer_1 = FusionConvolution(width, width, 3)
        self.mask_features = nn.Conv2d(width, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Decode maps [N, channels, h, w] at strides 4, 8, 16, 32."""
        # Sampling places need sub-pixel accuracy, which half precision lacks.
        with torch.autocast(maps[0].device.type, enabled=False):
            fine, *coarse = (each.float() for each in maps)
            projected = [project(each) for project, each in zip(self.input_proj, reversed(coarse), strict=True)]
            levels = self.transformer(projected, self.pe_layer)
            size = (fine.shape[2], fine.shape[3])
            lifted = F.interpolate(levels[-1], size=size, mode="bilinear", align_corners=False)
            merged = F.relu(self.layer_1(self.adapter_1(fine) + lifted))
            return PixelFeatures(self.mask_features(merged), tuple(levels))
