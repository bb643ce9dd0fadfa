"""The image pass of TCL as one module, from pixels to maps: what is written down as a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.methods.tcl.network import TclNetwork

PATCH = 16


def prepared(tiles: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [N, 3, s, t] -> normalised, then padded with zeros to whole patches, in the network's type."""
    padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), PATCH)
    return padding.add(normalise(tiles, "imagenet")).to(dtype)


class ImagePass(nn.Module):
    """uint8 tiles [N, 3, s, t] -> `grounder` [N, D, h/4, w/4] and `clip_embedding` [N, D, h/16, w/16], padded."""

    def __init__(self, network: TclNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [N, 3, s, t] -> [N, D, h/4, w/4] and [N, D, h/16, w/16], h x w being s x t padded to whole patches."""
        maps = self.network(prepared(tiles, self.network.visual.conv1.weight.dtype))
        return maps.grounder, maps.clip_embedding
