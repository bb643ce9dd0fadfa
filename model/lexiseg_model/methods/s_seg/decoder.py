"""MaskFormer's decoder for S-Seg: position encoding, pixel decoder, transformer over queries, mask head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10_000.0  # DETR, as in MaskFormer
EPSILON = 1e-6
HEADS, HIDDEN = 8, 2048  # of the transformer, as in MaskFormer
GROUPS = 32  # of every group norm


def sine_positions(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Sinusoidal positions [channels, height, width], rows first; they count from 1 and are scaled to 2 pi (DETR)."""
    half = channels // 2
    waves = TEMPERATURE ** (2 * torch.div(torch.arange(half, device=like.device), 2, rounding_mode="floor") / half)

    def along(count: int) -> Tensor:  # [half, count]
        steps = torch.arange(1, count + 1, dtype=torch.float32, device=like.device)
        angles = (steps / (count + EPSILON) * 2 * math.pi) / waves[:, None]
        return torch.stack([angles[0::2].sin(), angles[1::2].cos()], 1).flatten(0, 1)

    rows = along(height)[:, :, None].expand(-1, -1, width)
    columns = along(width)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns]).to(like.dtype)


class NormedConvolution(nn.Conv2d):
    """Convolution without bias, then a group norm; the map keeps its size."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_uniform_(self.weight, a=1)  # as MaskFormer
        self.norm = nn.GroupNorm(GROUPS, after)

    def forward(self, input: Tensor) -> Tensor:
        """Maps [B, after, h, w] of maps [B, before, h, w]."""
        normed: Tensor = self.norm(super().forward(input))
        return normed


class PixelDecoder(nn.Module):
    """Feature pyramid: merges res2 to res5 from the coarsest to the finest level."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """Build for levels with these `channels`, finest first; `width` of the output is a multiple of 32."""
        super().__init__()
        self.levels = len(channels)
        for level, count in enumerate(channels, start=1):
            coarsest = level == self.levels
            if not coarsest:
                self.add_module(f"adapter_{level}", NormedConvolution(count, width, 1))
            self.add_module(f"layer_{level}", NormedConvolution(count if coarsest else width, width, 3))
        self.mask_features = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Mask features [B, width, h_1, w_1] of maps [B, C_i, h_i, w_i], finest first."""
        merged = F.relu(self.get_submodule(f"layer_{self.levels}")(features[-1]))
        for level in range(self.levels - 1, 0, -1):
            lateral = self.get_submodule(f"adapter_{level}")(features[level - 1])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
            merged = F.relu(self.get_submodule(f"layer_{level}")(merged))
        mask_features: Tensor = self.mask_features(merged)
        return mask_features


class DecoderLayer(nn.Module):
    """Self-attention of queries, attention to the map, feed-forward; a norm after every residual (DETR)."""

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
        """Queries [B, N, width] at `places` over cells [B, P, width] at `cell_places`, which are not added to
        values."""
        placed = queries + places
        from_queries = self.self_attn(placed, placed, queries, need_weights=False)[0]
        queries = self.norm1(queries + self.dropout(from_queries))
        from_cells = self.multihead_attn(queries + places, cells + cell_places, cells, need_weights=False)[0]
        queries = self.norm2(queries + self.dropout(from_cells))
        from_itself = self.linear2(self.dropout(F.relu(self.linear1(queries))))
        after: Tensor = self.norm3(queries + self.dropout(from_itself))
        return after


class Decoder(nn.Module):
    """Stack of layers; every layer's output also passes a common norm before it is returned."""

    def __init__(self, depth: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, places: Tensor, cells: Tensor, cell_places: Tensor) -> Tensor:
        """Outputs [depth, B, N, width] of every layer, of what `DecoderLayer.forward` takes; queries start as zeros."""
        queries = torch.zeros_like(places)
        outcomes = []
        for layer in self.layers:
            queries = layer(queries, places, cells, cell_places)
            outcomes.append(self.norm(queries))
        return torch.stack(outcomes)


class MaskEmbedding(nn.Module):
    """Three linear layers with ReLU in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, queries: Tensor) -> Tensor:
        """Embed queries [..., width]; the shape stays."""
        first, second, third = self.layers
        embedded: Tensor = third(F.relu(second(F.relu(first(queries)))))
        return embedded


class Predictor(nn.Module):
    """Transformer decoder of N queries over a map, and the embedding of queries for masks."""

    def __init__(self, channels: int, *, width: int, n_queries: int, depth: int, dropout: float) -> None:
        """Build with `channels` of the coarsest map and `width` of a query."""
        super().__init__()
        self.query_embed = nn.Embedding(n_queries, width)
        self.input_proj = nn.Conv2d(channels, width, 1)
        nn.init.kaiming_uniform_(self.input_proj.weight, a=1)
        nn.init.zeros_(self.input_proj.bias)  # type: ignore[arg-type]
        self.transformer = nn.ModuleDict({"decoder": Decoder(depth, width, HEADS, HIDDEN, dropout)})
        self.mask_embed = MaskEmbedding(width)

    def forward(self, coarsest: Tensor) -> Tensor:
        """Queries of every layer [depth, B, N, width] over a map [B, channels, h, w]."""
        cells = self.input_proj(coarsest)
        tiles, width, rows, columns = cells.shape  # not len(), which would become a constant of an exported graph
        positions = sine_positions(rows, columns, width, cells)
        places = self.query_embed.weight.expand(tiles, -1, -1)
        flat = cells.flatten(2).transpose(1, 2)  # [B, width, h, w] -> [B, h*w, width]
        return cast(Tensor, self.transformer["decoder"](places, flat, positions.flatten(1).T))


class MaskHead(nn.Module):
    """Pixel decoder and transformer over the levels res2 to res5; weights have MaskFormer's names below
    `sem_seg_head.`."""

    def __init__(
        self, channels: Sequence[int], *, n_queries: int, depth: int, dropout: float, width: int = 256
    ) -> None:
        """Build with random weights; `channels` are of res2 to res5, `depth` is the number of decoder layers."""
        super().__init__()
        self.width = width
        self.pixel_decoder = PixelDecoder(channels, width)
        self.predictor = Predictor(channels[-1], width=width, n_queries=n_queries, depth=depth, dropout=dropout)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Queries [depth, B, N, width] of every layer and mask features [B, width, h, w], of levels finest first."""
        return self.predictor(features[-1]), self.pixel_decoder(features)

    def masks(self, queries: Tensor, mask_features: Tensor) -> Tensor:
        """Mask logits [L, B, N, h, w] of queries [L, B, N, width] and mask features [B, width, h, w]."""
        return torch.einsum("lbnc,bchw->lbnhw", self.predictor.mask_embed(queries), mask_features)
