"""The image pass of `tiny` as one module, from pixels to embeddings: what is written down as a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lexiseg_model.methods.tiny.network import MEAN, STD, TinyNetwork


class ImagePass(nn.Module):
    """uint8 tiles [N, 3, s, t] -> pixels [N, 96, s/4, t/4], image [N, 96] and cells [N, 96, s/32, t/32]; in float32."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("inverse_std", 1 / torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.inverse_std: Tensor

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network((tiles.float() - self.mean) * self.inverse_std)
        return features.pixels, features.image, features.cells
