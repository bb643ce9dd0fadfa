"""TCL network: a frozen CLIP image tower and the grounder on top of its second-last block.

Each step of the image pass is a method: `tokens` (input of the last block), `dense` and `clip_embedding` (CLIP's own
dense features, for knowledge preservation), `grounder`. Texts are applied in `blend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lexiseg_model.clip import vision
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.vision import PositionRule, Tokens
from lexiseg_model.methods.tcl.blend import ImageMaps
from lexiseg_model.methods.tcl.grounder import Grounder, Sim2Mask, value_only

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

POSITIONS: PositionRule = "size"
PATCH = 16


class TclNetwork(nn.Module):
    """Image side of TCL. Images are [B, 3, H, W], normalised with ImageNet's statistics, sides multiples of the patch.

    It may run under autocast; the masks of `blend` are always float32.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        """Freeze CLIP's image tower, and build a grounder from its end.

        Raises:
            WeightsError: the tower is not a plain ViT.
        """
        super().__init__()
        vision.require_plain_vit(visual)
        self.visual = visual
        self.grounder = Grounder(visual)
        self.sim2mask = Sim2Mask()
        visual.requires_grad_(False)

    def forward(self, images: Tensor) -> ImageMaps:
        """Both maps of images [B, 3, H, W]."""
        tokens = self.tokens(images)
        return ImageMaps(self.grounder(*tokens), self.clip_embedding(self.dense(tokens)))

    def tokens(self, images: Tensor) -> Tokens:
        """Output [B, 1 + h * w, width] of the second-last block, class token first."""
        return vision.tokens_before_last_block(self.visual, images, POSITIONS)

    def dense(self, tokens: Tokens) -> Tensor:
        """Patches [B, width, h, w] after CLIP's last block on values only, before the final norm."""
        return vision.patch_map(value_only(vision.last_block(self.visual), tokens.tokens)[:, 1:], tokens.grid)

    def clip_embedding(self, dense: Tensor) -> Tensor:
        """Final norm and projection of patches [B, width, h, w]: [B, D, h, w], not normalised."""
        return vision.project(self.visual, dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def image_embedding(self, images: Tensor) -> Tensor:
        """CLIP's vectors [B, D] of whole images, by normal attention; not normalised."""
        return vision.image_embedding(self.visual, self.tokens(images))


def prepared(tiles: Tensor, dtype: torch.dtype) -> Tensor:
    """Tiles uint8 [N, 3, s, t], normalised, then padded with zeros to whole patches, in the network's type."""
    padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), PATCH)
    return padding.add(normalise(tiles, "imagenet")).to(dtype)


class ImagePass(nn.Module):
    """Image side for uint8 tiles, as one module for serving and export."""

    def __init__(self, network: TclNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `grounder` [N, D, h/4, w/4] and `clip_embedding` [N, D, h/16, w/16] of tiles uint8 [N, 3, s, t].

        h x w are s x t, padded to whole patches.
        """
        maps = self.network(prepared(tiles, self.network.visual.conv1.weight.dtype))
        return maps.grounder, maps.clip_embedding
