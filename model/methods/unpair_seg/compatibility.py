"""What the released code does and was not meant to; used only where settings say `compatibility: released`.

- The quality of a mask goes through the sigmoid twice, so that it lies in 0.5..0.731, and 0.65 of that is asked for.
- Overlaps are counted on masks first enlarged to the input and then halved: sixteen times the work for the same.
- With several points for one object, the mask is read from the token at place P; it is at 2P, behind the corners.

One quirk is not repeated: where no mask is good enough, the released code fails; here the answer is empty.
That of training is in `matching`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.methods.unpair_seg.mask_decoder import MASK_THRESHOLD
from model.methods.unpair_seg.prompts import PromptTokens

QUALITY = 0.65  # after the second sigmoid
CHUNK = 32  # masks enlarged together


def second_sigmoid(quality: Tensor) -> Tensor:
    """0..1 -> 0.5..0.731."""
    return quality.sigmoid()


def enlarged(masks: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Logits [N, h, w] at the size of the network's input, as the released code goes on from: [N, H, W]."""
    return F.interpolate(masks[:, None], size=canvas, mode="bilinear", align_corners=False)[:, 0]


def binarised(masks: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Logits [N, h, w] -> bool [N, H / 2, W / 2] of a canvas (H, W)."""
    halves = [halved(enlarged(some, canvas)) for some in torch.split(masks, CHUNK)]
    return torch.cat(halves)


def halved(masks: Tensor) -> Tensor:
    """Logits [N, H, W] -> bool [N, H / 2, W / 2]."""
    half = F.interpolate(masks[:, None], scale_factor=0.5, mode="bilinear", align_corners=False)
    return half[:, 0].sigmoid() >= MASK_THRESHOLD


def misread(prompt: PromptTokens) -> PromptTokens:
    """Tokens of several points, read where the released code reads them: in the middle of the corners."""
    return prompt._replace(read=(prompt.read[0] // 2,))
