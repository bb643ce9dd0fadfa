"""Quirks of the authors' released code, repeated only with `compatibility: released` in the settings.

- The quality of a mask passes through the sigmoid twice, lies in 0.5..0.731, and has the threshold 0.65.
- Overlaps are counted on masks enlarged to the input and then halved, which costs sixteen times as much.
- With P points for one object, the mask is read from token P instead of token 2P, which follows the corners.
- Resized sides are whole pixels, not mask cells, and masks extend into the padding, which influences the region's name.
- A mask that vanishes at CLIP's stride of 32 is named by a vector of zeros.
- Stability is counted at the size of the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD
from lexiseg_model.methods.unpair_seg.layers.prompts import PromptTokens

QUALITY = 0.65  # after the second sigmoid
CHUNK = 32  # masks that are enlarged to the input at once
AT_IMAGE = 2  # masks that are enlarged to the image at once: images may have many megapixels


def enlarged(masks: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Mask logits [N, h, w] at the size (H, W) of the network's input: [N, H, W]."""
    return F.interpolate(masks[:, None], size=canvas, mode="bilinear", align_corners=False)[:, 0]


def binarised(masks: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Binary masks bool [N, H/2, W/2] of logits [N, h, w] over a canvas (H, W)."""
    halves = [halved(enlarged(some, canvas)) for some in torch.split(masks, CHUNK)]
    return torch.cat(halves)


def at_image(masks: Tensor, canvas: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """Logits float32 [N, H, W] of an image from logits [N, h, w] of a canvas, in the two steps of the released code.

    That has square canvases only; others are padded with their edge values, outside the image.
    """
    height, width = canvas
    side = max(canvas)
    square = F.pad(enlarged(masks.float(), canvas)[:, None], (0, side - width, 0, side - height), mode="replicate")
    longest = max(image)
    square = F.interpolate(square, size=(longest, longest), mode="bilinear", align_corners=False)[:, 0]
    return square[:, : image[0], : image[1]]


def stability(masks: Tensor, canvas: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """Stability [N] of logits [N, h, w] over a square canvas, counted in image pixels as in the released demo."""
    return torch.cat([regions.stability(at_image(some, canvas, image)) for some in torch.split(masks, AT_IMAGE)])


def halved(masks: Tensor) -> Tensor:
    """Binary masks bool [N, H/2, W/2] of logits [N, H, W]."""
    half = F.interpolate(masks[:, None], scale_factor=0.5, mode="bilinear", align_corners=False)
    return half[:, 0].sigmoid() >= MASK_THRESHOLD


def misread(prompt: PromptTokens) -> PromptTokens:
    """Tokens of several points with the released code's index of the mask token, in the middle of the corners."""
    return prompt._replace(read=(prompt.read[0] // 2,))
