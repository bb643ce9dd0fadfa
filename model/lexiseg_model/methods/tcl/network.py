"""TCL network: a frozen CLIP image tower and the grounder on top of its second-last block.

Each step of the image pass is a method: `tokens` (input of the last block), `dense` and `clip_embedding` (CLIP's own
dense features, for the blend), `grounder`. Texts enter later, in `blend`.
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


class TclNetwork(nn.Module):
    """Image side of TCL. Images are [B, 3, H, W], normalised with ImageNet's statistics, sides multiples of the patch.

    Precision is the caller's: everything here runs under autocast; the masks of `blend` are float32 whatever comes in.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        """`visual`: CLIP's image tower; it is frozen here, and the grounder starts as a copy of its end.

        Raises:
            WeightsError: a tower whose last block cannot be opened.
        """
        super().__init__()
        vision.require_plain_vit(visual)
        self.visual = visual
        self.grounder = Grounder(visual)
        self.sim2mask = Sim2Mask()
        visual.requires_grad_(False)

    def forward(self, images: Tensor) -> ImageMaps:
        """The whole image pass: [B, 3, H, W] -> `grounder` [B, D, H/4, W/4], `clip_embedding` [B, D, H/16, W/16]."""
        tokens = self.tokens(images)
        return ImageMaps(self.grounder(*tokens), self.clip_embedding(self.dense(tokens)))

    def tokens(self, images: Tensor) -> Tokens:
        """[B, 1 + h * w, width]: output of the second-last block, CLS first."""
        return vision.tokens_before_last_block(self.visual, images, POSITIONS)

    def dense(self, tokens: Tokens) -> Tensor:
        """[B, width, h, w]: CLIP's last block on values only, before the final norm."""
        return vision.patch_map(value_only(vision.last_block(self.visual), tokens.tokens)[:, 1:], tokens.grid)

    def clip_embedding(self, dense: Tensor) -> Tensor:
        """[B, width, h, w] -> [B, D, h, w]: final norm and projection of every patch, not normalised."""
        return vision.project(self.visual, dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def image_embedding(self, images: Tensor) -> Tensor:
        """[B, D]: CLIP's own vector of the whole image, by normal attention; not normalised."""
        return vision.image_embedding(self.visual, self.tokens(images))


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
