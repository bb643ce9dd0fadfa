"""MaskFormer without its class head: N masks of an image, and for each the query that made it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lexiseg_model.methods.s_seg.pixel_decoder import PixelDecoder
from lexiseg_model.methods.s_seg.predictor import Predictor


class MaskHead(nn.Module):
    """Pixel decoder and transformer over the levels res2..res5 of any backbone.

    Its weights have the names of MaskFormer's checkpoints below `sem_seg_head.`: `pixel_decoder.{adapter_i, layer_i,
    mask_features}` and `predictor.{query_embed, input_proj, transformer.decoder, mask_embed}`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        n_queries: int,
        depth: int,
        dropout: float,
        width: int = 256,
        heads: int = 8,
        hidden: int = 2048,
    ) -> None:
        """Builds it with fresh weights.

        Args:
            channels: of res2..res5.
            n_queries: masks of an image.
            depth: decoder layers.
            dropout: in the decoder.
            width, heads, hidden: of the decoder; the defaults are MaskFormer's.
        """
        super().__init__()
        self.width = width
        self.pixel_decoder = PixelDecoder(channels, width)
        self.predictor = Predictor(
            channels[-1],
            width=width,
            n_queries=n_queries,
            depth=depth,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels [B, C_i, h_i, w_i], finest first, to queries [depth, B, N, width] and mask features [B, width, h, w].

        Queries come from every layer, those of the last layer last.
        """
        return self.predictor(features[-1]), self.pixel_decoder(features)

    def masks(self, queries: Tensor, mask_features: Tensor) -> Tensor:
        """Mask logits of the queries of any layers: [L, B, N, width] and [B, width, h, w] -> [L, B, N, h, w]."""
        return torch.einsum("lbnc,bchw->lbnhw", self.predictor.mask_embed(queries), mask_features)
