"""Image towers of timm in open_clip (SigLIP 2, MobileCLIP): the head is applied to each patch.

SigLIP 2 pools tokens by attention, which for a single token is its value, as in MaskCLIP. MobileCLIP averages cells.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from open_clip.timm_model import TimmModel as TimmModel
from timm.layers.format import Format
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lexiseg_model.clip.images import Normalisation, Padding, normalise
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.clip.vision import patch_map
from lexiseg_model.errors import WeightsError


class TimmTower(ImageTower):
    """Image tower of timm for tiles of any size."""

    def __init__(self, visual: TimmModel, normalisation: Normalisation) -> None:
        """Prepare the tower for any size. Raises WeightsError if the head cannot be applied to a patch."""
        super().__init__()
        trunk: Any = visual.trunk  # timm is untyped
        if issubclass(kind := type(trunk), VisionTransformer):
            if trunk.global_pool != "map" or trunk.num_prefix_tokens:
                raise WeightsError(
                    "dense features need a tower of timm that pools by attention, this has a class token"
                )
            # As timm does for any image size: positions are resized to the grid of the tile.
            trunk.dynamic_img_size = True
            trunk.patch_embed.strict_img_size = False
            trunk.patch_embed.flatten = False
            trunk.patch_embed.output_fmt = Format.NHWC
            self.multiple = int(trunk.patch_embed.patch_size[0])
        elif issubclass(kind, FastVit):
            self.multiple = 32  # pixels of a cell in all its sizes
        else:
            raise WeightsError(f"dense features need SigLIP's or MobileCLIP's trunk, this model has a {kind.__name__}")
        self._normalisation: Normalisation = normalisation
        self.trunk: nn.Module = trunk
        self.head = visual.head

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]."""
        padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), self.multiple)
        images = padding.add(normalise(tiles, self._normalisation))
        trunk: Any = self.trunk
        features = trunk.forward_features(images.to(next(trunk.parameters()).dtype))
        grid = (images.shape[2] // self.multiple, images.shape[3] // self.multiple)
        tokens = features.flatten(2).transpose(1, 2) if features.ndim == 4 else features  # [N, h*w, C]
        alone = tokens.flatten(0, 1)  # [N*h*w, C]: a batch of images of one patch each
        alone = alone[:, :, None, None] if features.ndim == 4 else alone[:, None]
        vectors = self.head(trunk.forward_head(alone)).view(*tokens.shape[:2], -1)
        return (F.normalize(patch_map(vectors, grid).float(), dim=1),)
