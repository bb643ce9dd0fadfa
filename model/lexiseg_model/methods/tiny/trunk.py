"""The trunk of `tiny`: EfficientNet-Lite2, which knows ImageNet's classes (Tan and Le, arXiv 1905.11946).

Padding is TensorFlow's "same" for even sides, more on the right and below, so that a graph with dynamic sides needs no
arithmetic on shapes. Tensors come in the order of the published files.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

MIDDLE, HALF_RANGE = 127.0, 128.0  # of 0..255 RGB, as the trunk was trained
STEM = 32
HEAD = 1280  # channels that its classifier reads
NORM_EPSILON = 1e-3  # TensorFlow's


def normalised(pixels: Tensor) -> Tensor:
    """Pixels of 0..255 as the trunk reads them, about -1..1; float."""
    return (pixels.float() - MIDDLE) * (1 / HALF_RANGE)


class Stage(NamedTuple):
    """Blocks of one width: how many, side of the depthwise kernel, stride of the first, expansion, channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# B0's stages scaled by 1.1 in width and 1.2 in depth; channels are multiples of 8.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(1, 3, 1, 6, 352),
)
LEVELS = (1, 2, 4, 6)  # stages that give the pyramid, at strides 4, 8, 16 and 32
DEEP = 3  # first stage of the deep part, which knows things rather than edges
WIDTHS = tuple(STAGES[stage].channels for stage in LEVELS)


class SameConvolution(nn.Conv2d):
    """A convolution without bias that divides its input's size by the stride, for inputs that the stride divides."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
        before = (kernel - stride) // 2
        self.border = (before, kernel - stride - before)
        if self.border[0] == self.border[1]:
            self.padding = (before, before)

    def forward(self, maps: Tensor) -> Tensor:
        before, after = self.border
        return super().forward(maps if before == after else F.pad(maps, (before, after, before, after)))


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, and ReLU6 where `active`."""

    def __init__(self, convolution: nn.Conv2d, active: bool = True) -> None:
        norm = nn.BatchNorm2d(convolution.out_channels, eps=NORM_EPSILON)
        super().__init__(convolution, norm, *([nn.ReLU6(inplace=True)] if active else []))


class Block(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; Sandler et al., "MobileNetV2" (arXiv 1801.04381)."""

    def __init__(self, channels_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = channels_in * stage.expansion
        widen = [ConvNorm(SameConvolution(channels_in, inner, 1))] if stage.expansion > 1 else []
        self.path = nn.Sequential(
            *widen,
            ConvNorm(SameConvolution(inner, inner, stage.kernel, stride, groups=inner)),
            ConvNorm(SameConvolution(inner, stage.channels, 1), active=False),
        )
        self.is_residual = stride == 1 and channels_in == stage.channels

    def forward(self, maps: Tensor) -> Tensor:
        narrowed: Tensor = self.path(maps)
        return narrowed + maps if self.is_residual else narrowed


class Trunk(nn.Module):
    """`normalised` images [B, 3, H, W], H and W multiples of 32 -> maps at strides 4, 8, 16 and 32, and `head`
    [B, 1280, H/32, W/32], which ImageNet's classifier reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(SameConvolution(3, STEM, 3, 2))
        self.stages = nn.ModuleList()
        width = STEM
        for stage in STAGES:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(Block(width, stage, stage.stride if number == 0 else 1))
                width = stage.channels
            self.stages.append(nn.Sequential(*blocks))
        self.head = ConvNorm(SameConvolution(width, HEAD, 1))

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        shallow = self.shallow(images)
        deep, head = self.deep(shallow[-1])
        return [*shallow, *deep], head

    def shallow(self, images: Tensor) -> list[Tensor]:
        """The maps at strides 4 and 8."""
        return self._stages(self.stem(images), range(DEEP))[0]

    def deep(self, maps: Tensor) -> tuple[list[Tensor], Tensor]:
        """The maps at strides 16 and 32, and `head`, of maps [B, 48, H/8, W/8]."""
        pyramid, last = self._stages(maps, range(DEEP, len(STAGES)))
        return pyramid, self.head(last)

    def _stages(self, maps: Tensor, numbers: range) -> tuple[list[Tensor], Tensor]:
        """The levels of the pyramid among some stages, and the output of the last one."""
        pyramid = []
        for number in numbers:
            maps = self.stages[number](maps)
            if number in LEVELS:
                pyramid.append(maps)
        return pyramid, maps
