"""The image pass of a dense CLIP method as a plain tuple: what is kept of a tile, and what is written as a graph."""

from __future__ import annotations

from torch import Tensor, nn

from lexiseg_model.methods.dense_clip.network import DenseNetwork


class ImagePass(nn.Module):
    """uint8 tiles [N, 3, s, t] -> `patches` [N, D, h, w] and, where the method has it, `objectness` [N, h, w]."""

    def __init__(self, network: DenseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """uint8 [N, 3, s, t] -> [N, D, h, w], and [N, h, w] where the method sees objects."""
        maps = self.network(tiles)
        return (maps.patches,) if maps.objectness is None else (maps.patches, maps.objectness)
