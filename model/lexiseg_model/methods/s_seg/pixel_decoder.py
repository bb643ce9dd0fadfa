"""MaskFormer's pixel decoder: a feature pyramid brought together at stride 4 (MaskFormer, section 3.2).

Names of modules, and with them of weights, are those of MaskFormer's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32  # of every group norm


class NormedConvolution(nn.Conv2d):
    """Convolution without bias and group norm; the map keeps its size."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_uniform_(self.weight, a=1)  # as MaskFormer
        self.norm = nn.GroupNorm(GROUPS, after)

    def forward(self, input: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h, w]."""
        normed: Tensor = self.norm(super().forward(input))
        return normed


class PixelDecoder(nn.Module):
    """res2..res5 to one map at the finest of their resolutions.

    From the coarsest to the finest: the map so far, every cell repeated up to the next size, plus that level through
    a 1 x 1 convolution, through a 3 x 3 convolution and ReLU.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """`channels` of the levels, finest first; `width` of the map that comes out, a multiple of 32."""
        super().__init__()
        self.levels = len(channels)
        for level, count in enumerate(channels, start=1):
            coarsest = level == self.levels
            if not coarsest:
                self.add_module(f"adapter_{level}", NormedConvolution(count, width, 1))
            self.add_module(f"layer_{level}", NormedConvolution(count if coarsest else width, width, 3))
        self.mask_features = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps [B, C_i, h_i, w_i], finest first, to mask features [B, width, h_1, w_1]."""
        merged = F.relu(self.get_submodule(f"layer_{self.levels}")(features[-1]))
        for level in range(self.levels - 1, 0, -1):
            lateral = self.get_submodule(f"adapter_{level}")(features[level - 1])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
            merged = F.relu(self.get_submodule(f"layer_{level}")(merged))
        mask_features: Tensor = self.mask_features(merged)
        return mask_features
