"""MaskFormer's transformer: learned queries look at the coarsest map until each knows its mask (section 3.2).

Without MaskFormer's class head: what a mask shows is said by its query, in the space of texts. Names of modules, and
with them of weights, are those of MaskFormer's checkpoints.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.s_seg.positions import sine_positions


class DecoderLayer(nn.Module):
    """Queries among themselves, then over the map, then each alone; a norm after every sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)  # as DETR

    def forward(self, queries: Tensor, places: Tensor, cells: Tensor, cell_places: Tensor) -> Tensor:
        """One layer.

        Args:
            queries: [B, N, width] so far.
            places: [B, N, width], the learned part of each query; it steers attention and is never a value.
            cells: [B, P, width] of the map.
            cell_places: [P, width], their positions; they make keys, never values.

        Returns:
            [B, N, width].
        """
        placed = queries + places
        from_queries = self.self_attn(placed, placed, queries, need_weights=False)[0]
        queries = self.norm1(queries + self.dropout(from_queries))
        from_cells = self.multihead_attn(queries + places, cells + cell_places, cells, need_weights=False)[0]
        queries = self.norm2(queries + self.dropout(from_cells))
        from_itself = self.linear2(self.dropout(F.relu(self.linear1(queries))))
        settled: Tensor = self.norm3(queries + self.dropout(from_itself))
        return settled


class Decoder(nn.Module):
    """A stack of layers, and the norm that every layer's outcome passes before it is read."""

    def __init__(self, depth: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, places: Tensor, cells: Tensor, cell_places: Tensor) -> Tensor:
        """Outcome of every layer; queries start as zeros.

        Args:
            places: [B, N, width], as of a layer.
            cells: [B, P, width] of the map.
            cell_places: [P, width].

        Returns:
            [depth, B, N, width].
        """
        queries = torch.zeros_like(places)
        outcomes = []
        for layer in self.layers:
            queries = layer(queries, places, cells, cell_places)
            outcomes.append(self.norm(queries))
        return torch.stack(outcomes)


class MaskEmbedding(nn.Module):
    """Three linear layers with ReLU between them: [..., width] -> [..., width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, queries: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        first, second, third = self.layers
        embedded: Tensor = third(F.relu(second(F.relu(first(queries)))))
        return embedded


class Predictor(nn.Module):
    """N queries over a map: outcomes of all layers, and the vectors whose product with mask features are masks."""

    def __init__(
        self, channels: int, *, width: int, n_queries: int, depth: int, heads: int, hidden: int, dropout: float
    ) -> None:
        """`channels` of the coarsest map; `width` of a query; `hidden` of the feed-forward layers."""
        super().__init__()
        self.query_embed = nn.Embedding(n_queries, width)
        self.input_proj = nn.Conv2d(channels, width, 1)
        nn.init.kaiming_uniform_(self.input_proj.weight, a=1)
        nn.init.zeros_(self.input_proj.bias)  # type: ignore[arg-type]
        self.transformer = nn.ModuleDict({"decoder": Decoder(depth, width, heads, hidden, dropout)})
        self.mask_embed = MaskEmbedding(width)

    def forward(self, coarsest: Tensor) -> Tensor:
        """[B, channels, h, w] -> queries of every layer [depth, B, N, width], the last layer's last."""
        cells = self.input_proj(coarsest)
        tiles, width, rows, columns = cells.shape  # not len(), which is a constant for who writes the pass as a graph
        positions = sine_positions(rows, columns, width, cells)
        places = self.query_embed.weight.expand(tiles, -1, -1)
        flat = cells.flatten(2).transpose(1, 2)  # [B, width, h, w] -> [B, h*w, width]
        return cast(Tensor, self.transformer["decoder"](places, flat, positions.flatten(1).T))
