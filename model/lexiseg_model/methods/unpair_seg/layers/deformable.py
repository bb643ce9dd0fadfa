"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, eq. 3), in plain torch or by a fused kernel.

Each query looks at a few places of every level: where they are and how much they count are linear in the query.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers import fused

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
        sample = fused.sample_levels if fused.takes(values) else sample_levels
        attended: Tensor = self.output(sample(values, sizes, places, weights))
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
