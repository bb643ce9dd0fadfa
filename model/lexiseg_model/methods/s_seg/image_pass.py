"""The image pass of S-Seg as one module, from pixels to masks: what is written down as a graph."""

from __future__ import annotations

from torch import Tensor, nn

from lexiseg_model.clip.images import normalise
from lexiseg_model.methods.s_seg.network import SSegNetwork


class ImagePass(nn.Module):
    """uint8 tiles [B, 3, s, t], sides multiples of 32, to the last layer's answer, float32.

    `masks` [B, N, s/4, t/4] logits, `queries` [B, N, 256] that made them, `embeddings` [B, N, D] of them and `image`
    [B, D] of the whole tile, both of unit length.
    """

    def __init__(self, network: SSegNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uint8 [B, 3, s, t] -> masks [B, N, s/4, t/4], queries [B, N, 256], embeddings [B, N, D], image [B, D]."""
        images = normalise(tiles, "imagenet").to(next(self.network.backbone.parameters()).dtype)
        logits, queries = (part[-1].float() for part in self.network.last_masks(images))
        return logits, queries, self.network.embed_masks(queries), self.network.embed_images(queries)
