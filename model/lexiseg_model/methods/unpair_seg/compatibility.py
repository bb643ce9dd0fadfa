"""What the released code does and was not meant to; used only where settings say `compatibility: released`.

- The quality of a mask goes through the sigmoid twice, so that it lies in 0.5..0.731, and 0.65 of that is asked for.
- Overlaps are counted on masks first enlarged to the input and then halved: sixteen times the work for the same.
- With several points for one object, the mask is read from the token at place P; it is at 2P, behind the corners.
- Sides of the resized image are whole pixels, not whole cells of masks, and masks go on into the padding, where they
  count for the region's name.
- A mask of which nothing is left at CLIP's stride of 32 is named by a vector of zeros.
- Stability is counted at the size of the image.

One quirk is not repeated: where no mask is good enough, the released code fails; here the answer is empty.
That of training is in `training.criterion`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD
from lexiseg_model.methods.unpair_seg.layers.prompts import PromptTokens

QUALITY = 0.65  # after the second sigmoid
CHUNK = 32  # masks enlarged to the input together
AT_IMAGE = 2  # masks enlarged to the image together, which may have many megapixels


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


def to_image(masks: Tensor, image: tuple[int, int]) -> Tensor:
    """Logits [N, h, w] over a square canvas -> [N, H, W] of the image at its left top."""
    side = max(image)
    square = F.interpolate(masks[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]
    return square[:, : image[0], : image[1]]


def at_image(masks: Tensor, canvas: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """Logits [N, h, w] over a canvas -> float32 [N, H, W] of the image, in the two steps of the released code.

    That knows square canvases alone; another one is made square by its own edges, which no image reaches.
    """
    height, width = canvas
    side = max(canvas)
    square = F.pad(enlarged(masks.float(), canvas)[:, None], (0, side - width, 0, side - height), mode="replicate")
    return to_image(square[:, 0], image)


def stability(masks: Tensor, canvas: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """That of the demo, which counts pixels of the image: logits [N, h, w] over a square canvas -> [N]."""
    return torch.cat([regions.stability(at_image(some, canvas, image)) for some in torch.split(masks, AT_IMAGE)])


def halved(masks: Tensor) -> Tensor:
    """Logits [N, H, W] -> bool [N, H / 2, W / 2]."""
    half = F.interpolate(masks[:, None], scale_factor=0.5, mode="bilinear", align_corners=False)
    return half[:, 0].sigmoid() >= MASK_THRESHOLD


def misread(prompt: PromptTokens) -> PromptTokens:
    """Tokens of several points, read where the released code reads them: in the middle of the corners."""
    return prompt._replace(read=(prompt.read[0] // 2,))
