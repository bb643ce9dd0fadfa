"""Swin's blocks by timm on maps whose sides its windows do not divide: padded before they are shifted.

timm shifts a map first and pads it second. Its mask keeps apart what the shift brought together, but fits only maps
that were padded first, as Swin's authors and MaskFormer do (Liu et al., ICCV 2021): without that, windows at one edge
see the other.
"""

from __future__ import annotations

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import Tensor, nn


class PaddedBlock(SwinTransformerBlock):
    """A block of Swin."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C], after the first norm: what is padded stays zero
        attended: Tensor = super()._attn(_padded(maps, self.window_size))  # type: ignore[no-untyped-call]
        return attended[:, : maps.shape[1], : maps.shape[2]]


class PaddedBlockV2(SwinTransformerV2Block):
    """A block of Swin v2, whose norms come after attention."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C]
        attended: Tensor = super()._attn(_padded(maps, self.window_size))
        return attended[:, : maps.shape[1], : maps.shape[2]]


PADDED: dict[type[nn.Module], type[nn.Module]] = {
    SwinTransformerBlock: PaddedBlock,
    SwinTransformerV2Block: PaddedBlockV2,
}


def pad_before_shifts(network: nn.Module) -> None:
    """Makes every block of a Swin do so; weights and their names stay, and other networks stay as they are."""
    for block in network.modules():
        # timm builds its blocks itself and takes no class for them.
        block.__class__ = PADDED.get(type(block), type(block))


def _padded(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """[B, h, w, C] -> zeros right and below up to whole windows."""
    height, width = maps.shape[1:3]
    return F.pad(maps, (0, 0, 0, -width % window[1], 0, -height % window[0]))
