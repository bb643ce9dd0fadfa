"""Stage two's adapter: what CLIP's last map is too coarse to say of a region, learned from all maps there are.

The authors did not publish theirs. Here every map is brought to one width and to stride 8 and added up, two residual
convolutions let neighbours speak, and what is averaged under a mask is added to CLIP's own average, through a
projection that starts at zero: an untrained adapter is CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.regions import Pool

NORM_GROUPS = 32


class ResidualConvolution(nn.Module):
    """Two convolutions, each behind a norm and a GELU, added to what was there: [N, C, h, w] -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(NORM_GROUPS, width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        inner = maps
        for norm, conv in zip(self.norms, self.convs, strict=True):
            inner = conv(F.gelu(norm(inner)))
        return maps + inner


class RegionAdapter(nn.Module):
    """CLIP's maps and the pixel decoder's -> a map at stride 8, and from it what regions add to CLIP's average."""

    def __init__(
        self,
        channels: Sequence[int] = (192, 384, 768, 1536),
        decoder_width: int = 256,
        levels: int = 3,
        width: int = 256,
        blocks: int = 2,
    ) -> None:
        """`channels` of CLIP's maps at strides 4, 8, 16, 32; `decoder_width` of the pixel decoder's `levels`."""
        super().__init__()
        widths = (*channels, *[decoder_width] * levels)
        self.inputs = nn.ModuleList(nn.Conv2d(each, width, 1) for each in widths)
        self.blocks = nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks)))
        self.output = nn.Linear(width, channels[-1])
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, stages: Sequence[Tensor], levels: Sequence[Tensor]) -> Tensor:
        """CLIP's [N, C_i, ...] at strides 4, 8, 16, 32, the pixel decoder's at 32, 16, 8 -> [N, width, H/8, W/8]."""
        size = (stages[1].shape[2], stages[1].shape[3])
        projected = (project(each) for project, each in zip(self.inputs, (*stages, *levels), strict=True))
        # Finer maps are averaged down, coarser ones interpolated.
        sized = [
            F.adaptive_avg_pool2d(each, size) if each.shape[-1] > size[-1] else _lifted(each, size)
            for each in projected
        ]
        mixed: Tensor = self.blocks(sum(sized[1:], sized[0]))
        return mixed

    def pooled(self, maps: Tensor, dense: Tensor, masks: Tensor, pool: Pool = regions.pool) -> Tensor:
        """What CLIP's head is given for each region.

        Args:
            maps: [N, width, H/8, W/8] of this adapter.
            dense: [N, C, H/32, W/32] of CLIP.
            masks: logits [N, Q, h, w].
            pool: how, on each of the two maps by itself: a mask may be too small for one and not for the other.

        Returns:
            [N, Q, C].
        """
        # Averaging and projecting may change places: the small map is averaged.
        added: Tensor = self.output(pool(maps, masks))
        return pool(dense, masks) + added


def _lifted(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
