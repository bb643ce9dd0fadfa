"""Frozen ConvNeXt of CLIP with maps at four strides and an embedding of regions, and the adapter of stage two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from lexiseg_model.errors import ShapeError, WeightsError
from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.regions import Pool
from lexiseg_model.methods.unpair_seg.settings import GROUPS, LEVELS

PADDING = 128  # grey of the padding, before normalisation
STRIDE = 32  # of the coarsest map; sides of the input are multiples of it


class ResidualConvolution(nn.Module):
    """Two convolutions, each after a norm and a GELU, with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the convolutions to maps [N, C, h, w]; the shape stays."""
        inner = maps
        for norm, conv in zip(self.norms, self.convs, strict=True):
            inner = conv(F.gelu(norm(inner)))
        return maps + inner


class RegionAdapter(nn.Module):
    """Adapter of stage two: a map at stride 8 from CLIP's and the pixel decoder's maps, pooled and added to CLIP's."""

    def __init__(self, channels: Sequence[int], decoder_width: int, *, width: int, blocks: int) -> None:
        """Build an adapter that starts as zero, over CLIP's maps at strides 4, 8, 16, 32 and the pixel decoder's."""
        super().__init__()
        widths = (*channels, *[decoder_width] * LEVELS)
        self.inputs = nn.ModuleList(nn.Conv2d(each, width, 1) for each in widths)
        self.blocks = nn.Sequential(*(ResidualConvolution(width) for _ in range(blocks)))
        self.output = nn.Linear(width, channels[-1])
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, stages: Sequence[Tensor], levels: Sequence[Tensor]) -> Tensor:
        """Mix CLIP's maps (strides 4, 8, 16, 32) and the pixel decoder's (32, 16, 8): [N, width, H/8, W/8]."""
        size = (stages[1].shape[2], stages[1].shape[3])
        projected = (project(each) for project, each in zip(self.inputs, (*stages, *levels), strict=True))
        # Finer maps are averaged, coarser ones interpolated.
        sized = [
            F.adaptive_avg_pool2d(each, size)
            if each.shape[-1] > size[-1]
            else F.interpolate(each, size=size, mode="bilinear", align_corners=False)
            for each in projected
        ]
        mixed: Tensor = self.blocks(sum(sized[1:], sized[0]))
        return mixed

    def pooled(self, maps: Tensor, dense: Tensor, masks: Tensor, pool: Pool = regions.pool) -> Tensor:
        """Input [N, Q, C] of CLIP's head for regions of masks, logits [N, Q, h, w]: both maps by the average `pool`."""
        # Averaging commutes with the projection, and is cheaper before it.
        added: Tensor = self.output(pool(maps, masks))
        return pool(dense, masks) + added


class TrunkMaps(NamedTuple):
    """`stages` [N, C, H/s, W/s] at strides s = 4, 8, 16, 32; `dense` [N, C, H/32, W/32], the input of CLIP's head."""

    stages: tuple[Tensor, ...]
    dense: Tensor


class ClipTrunk(nn.Module):
    """Image tower of a ConvNeXt CLIP, without gradients and always in evaluation mode."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        if not isinstance(visual, TimmModel) or not isinstance(visual.trunk, ConvNeXt):
            raise WeightsError(f"Unpair-Seg works over a ConvNeXt CLIP, this model has a {type(visual).__name__}")
        self.visual = visual.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ClipTrunk:
        """Stay in evaluation mode: stochastic depth would change the features."""
        return super().train(False)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps at strides 4, 8, 16, 32."""
        return tuple(info["num_chs"] for info in self.visual.trunk.feature_info)

    def compute_maps_in(self, dtype: torch.dtype) -> ClipTrunk:
        """Convert all but the small head to a number type."""
        trunk: Any = self.visual.trunk
        for part in (trunk.stem, trunk.stages, trunk.norm_pre):
            part.to(dtype)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> TrunkMaps:
        """Maps in float32 of normalised images [N, 3, H, W], computed in the type of the weights."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ShapeError(
                f"expected images [N, 3, H, W] with sides that divide by {STRIDE}, got {list(images.shape)}"
            )
        trunk: Any = self.visual.trunk
        maps = trunk.stem(images.to(next(trunk.stem.parameters()).dtype))
        stages = []
        for stage in trunk.stages:
            maps = stage(maps)
            stages.append(maps.float())
        return TrunkMaps(tuple(stages), trunk.norm_pre(maps).float())

    def embed(self, pooled: Tensor) -> Tensor:
        """Apply CLIP's head to pooled features [..., C] of regions: [..., D], not normalised."""
        flat = pooled.reshape(-1, pooled.shape[-1], 1, 1)
        rows: Tensor = self.visual.head(self.visual.trunk.head(flat))
        return rows.reshape(*pooled.shape[:-1], -1)
