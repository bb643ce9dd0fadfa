"""CLIP's ConvNeXt as a frozen trunk: maps at four strides, a head for regions, and the adapter of stage two."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from lexiseg_model.errors import ShapeError, WeightsError
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


# CLIP's statistics x 255, with the digits of the released configuration.
MEAN = (122.7709383, 116.7460125, 104.09373615)
STD = (68.5005327, 66.6321579, 70.32316305)
PADDING = 128  # grey beside and below an image that is no square, before normalisation
STRIDE = 32  # of the coarsest map; sides of the input divide by it


class TrunkMaps(NamedTuple):
    """`stages`: [N, C, H/s, W/s] at strides 4, 8, 16, 32; `dense`: what CLIP's head pools, at stride 32."""

    stages: tuple[Tensor, ...]
    dense: Tensor


class ClipTrunk(nn.Module):
    """The image tower of a ConvNeXt CLIP, without gradients and always in evaluation mode."""

    def __init__(self, visual: nn.Module) -> None:
        """`visual`: of `ClipTowers`.

        Raises:
            WeightsError: another kind of image tower.
        """
        super().__init__()
        if not isinstance(visual, TimmModel) or not isinstance(visual.trunk, ConvNeXt):
            raise WeightsError(f"Unpair-Seg works over a ConvNeXt CLIP, this model has a {type(visual).__name__}")
        self.visual = visual.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ClipTrunk:
        """Frozen whatever the rest does: stochastic depth would change the features."""
        return super().train(False)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the maps at strides 4, 8, 16, 32."""
        return tuple(info["num_chs"] for info in self.visual.trunk.feature_info)

    def compute_maps_in(self, dtype: torch.dtype) -> ClipTrunk:
        """The maps in another number type from now on; the head for regions, a small product, stays as it is."""
        trunk: Any = self.visual.trunk
        for part in (trunk.stem, trunk.stages, trunk.norm_pre):
            part.to(dtype)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> TrunkMaps:
        """Maps [N, C_i, h_i, w_i] of normalised images [N, 3, H, W]; float32, whatever type they are computed in.

        Raises:
            ShapeError: sides that do not divide by 32.
        """
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
        """CLIP's head on features [..., C] of regions, as on those of a whole image: [..., D], not normalised."""
        flat = pooled.reshape(-1, pooled.shape[-1], 1, 1)
        rows: Tensor = self.visual.head(self.visual.trunk.head(flat))
        return rows.reshape(*pooled.shape[:-1], -1)


def normalised(images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> float32, as CLIP was trained."""
    mean, std = _statistics(images.device)
    return (images.float() - mean) / std


@lru_cache
@torch.inference_mode(False)  # training reads them, too
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """[3, 1, 1] each; kept as `cell_centres` are."""
    mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (MEAN, STD))
    return mean, std
