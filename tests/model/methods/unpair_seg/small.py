"""A network of the published build and none of its size, with random weights."""

from __future__ import annotations

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor

from model.methods.unpair_seg.mask_decoder import MaskDecoder
from model.methods.unpair_seg.network import PromptableMasks
from model.methods.unpair_seg.pixel_decoder import PixelDecoder, PixelFeatures
from model.methods.unpair_seg.prompts import PromptEncoder
from model.methods.unpair_seg.trunk import ClipTrunk

WIDTH = 32
CHANNELS = (8, 16, 24, 32)
SIZE = (64, 96)  # of the input


def network() -> PromptableMasks:
    torch.manual_seed(0)
    return PromptableMasks(
        PixelDecoder(CHANNELS, WIDTH, heads=4, depth=2, feed_forward=48),
        PromptEncoder(WIDTH),
        MaskDecoder(WIDTH, heads=4, depth=4, feed_forward=48),
    ).eval()


def maps(images: int = 1, size: tuple[int, int] = SIZE) -> list[Tensor]:
    """Random maps at strides 4, 8, 16, 32."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(images, channels, size[0] // stride, size[1] // stride, generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


@torch.no_grad()
def features(of: PromptableMasks, images: int = 1) -> PixelFeatures:
    return of.features(maps(images))


def trunk() -> ClipTrunk:
    """A ConvNeXt of 40, 80, 160 and 320 channels under CLIP's own head for 24."""
    torch.manual_seed(0)
    return ClipTrunk(TimmModel("convnext_atto", 24, pool="", proj="mlp", drop_path=0.5))
