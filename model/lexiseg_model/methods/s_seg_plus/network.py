"""A plain vision transformer under UperNet (Xiao et al., ECCV 2018), as MAE is fine-tuned for segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.cards import StrictModel
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.errors import OptionError, WeightsError

POOLS = (1, 2, 3, 6)  # cells per side of the pooled coarsest map
HELPED = 2  # level that the auxiliary head reads


class SSegPlusSettings(StrictModel):
    """`settings` of a card of method s_seg_plus. The paper names a ViT with UperNet; sizes are mmseg's with MAE."""

    classes: tuple[str, ...] = Field((), description="classes that it was taught; `background` may be first")
    backbone: str = Field("vit_base_patch16_224", description="timm's name of a plain vision transformer")
    layers: tuple[int, int, int, int] = Field((3, 5, 7, 11), description="blocks whose tokens are read")
    drop_path: float = Field(0.1, ge=0, lt=1, description="rate of dropped residual paths in training")
    width: int = Field(512, ge=8, description="channels of UperNet's maps")
    helper_width: int = Field(256, ge=8, description="channels of the second head, which training alone asks")
    dropout: float = Field(0.1, ge=0, lt=1, description="rate of dropout before the last layer, in training")


class ConvBlock(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; the map keeps its size."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )


class Pyramid(nn.Module):
    """Feature pyramid: four maps [B, C, h, w] of one size become 4, 2, 1 and 1/2 times as large."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second, third = (nn.ConvTranspose2d(channels, channels, 2, 2) for _ in range(3))
        finest = nn.Sequential(first, nn.BatchNorm2d(channels), nn.GELU(), second)
        self.steps = nn.ModuleList([finest, third, nn.Identity(), nn.MaxPool2d(2, 2)])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Resize the maps [B, C, h, w]; the finest comes first."""
        return [step(one) for step, one in zip(self.steps, maps, strict=True)]


class UperHead(nn.Module):
    """UperNet's head: class logits at the finest of four maps."""

    def __init__(self, channels: int, width: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.pools = nn.ModuleList(ConvBlock(channels, width, 1) for _ in POOLS)
        self.coarsest = ConvBlock(channels + len(POOLS) * width, width, 3)
        self.laterals = nn.ModuleList(ConvBlock(channels, width, 1) for _ in range(3))
        self.smooth = nn.ModuleList(ConvBlock(width, width, 3) for _ in range(3))
        self.fusion = ConvBlock(4 * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, n_classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits [B, K, h_0, w_0] of maps [B, C, h_i, w_i], finest first."""
        *finer, last = maps
        pooled = [
            _sized(block(F.adaptive_avg_pool2d(last, cells)), last)
            for block, cells in zip(self.pools, POOLS, strict=True)
        ]
        merged = [self.coarsest(torch.cat([last, *pooled], 1))]
        for lateral, one in zip(reversed(self.laterals), reversed(finer), strict=True):
            merged.append(lateral(one) + _sized(merged[-1], one))
        coarsest, *above = merged
        smoothed = [smooth(one) for smooth, one in zip(reversed(self.smooth), above, strict=True)]
        finest = smoothed[-1]
        together = torch.cat([_sized(one, finest) for one in (*reversed(smoothed), coarsest)], 1)
        logits: Tensor = self.classifier(self.dropout(self.fusion(together)))
        return logits


class Student(nn.Module):
    """Vision transformer with UperNet's head, and an auxiliary head for training."""

    def __init__(self, settings: SSegPlusSettings, start: Path | None = None) -> None:
        """Build with random weights, or with a transformer's weights in timm's format, such as MAE's."""
        import timm  # importable only after lexiseg_model.clip

        super().__init__()
        self.settings = settings
        try:
            self.backbone = timm.create_model(
                settings.backbone,
                features_only=True,
                out_indices=settings.layers,
                dynamic_img_size=True,
                drop_path_rate=settings.drop_path,
            )
        except (RuntimeError, TypeError, AssertionError) as error:
            raise OptionError(f"backbone {settings.backbone} gives no blocks {settings.layers}: {error}") from None
        body = cast(Any, self.backbone)  # timm is untyped
        if start is not None:
            _fill(body.model, start)
        channels = body.feature_info.channels()[-1]
        self.pyramid = Pyramid(channels)
        self.head = UperHead(channels, settings.width, len(settings.classes), settings.dropout)
        self.helper = nn.Sequential(
            ConvBlock(channels, settings.helper_width, 3), nn.Conv2d(settings.helper_width, len(settings.classes), 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class logits [B, K, H/4, W/4] of images [B, 3, H, W] with ImageNet's statistics, sides multiples of 32."""
        logits: Tensor = self.head(self.pyramid(self.backbone(images)))
        return logits

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits as `forward`, and the auxiliary head's [B, K, H/16, W/16]."""
        maps = self.pyramid(self.backbone(images))
        return self.head(maps), self.helper(maps[HELPED])


def _sized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _fill(transformer: nn.Module, path: Path) -> None:
    """Load a transformer's weights of MAE or of a classifier, without its head and decoder."""
    state = read_tensors(path)
    expected = transformer.state_dict()
    missing = sorted(name for name in expected if name not in state and not name.startswith(("norm.", "fc_norm.")))
    shaped = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    if missing or shaped:
        raise WeightsError(
            f"{path} does not fit the transformer: {', '.join((missing + shaped)[:3])} missing or of another shape"
        )
    transformer.load_state_dict({name: state.get(name, value) for name, value in expected.items()})
