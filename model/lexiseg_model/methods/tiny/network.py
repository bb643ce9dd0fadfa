"""The image tower of `tiny`: a residual convolutional network with one unit embedding per 4 x 4 pixels.

Widths, block counts and the top-down decoder were chosen for a CPU: plain 3 x 3 convolutions reach the highest share of
a core's peak in bf16 and channels-last. The network also outputs one vector for the whole image, whose cosine with a
text predicts whether the class is present.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (123.7, 116.3, 103.5)  # of 0..255 RGB, the ImageNet statistics
STD = (58.4, 57.1, 57.4)
STRIDE = 4  # pixels of the input per cell of the pixel map
WIDTHS = (48, 96, 192, 384)  # of the trunk; scaled in a narrower one
STEM = 24  # channels at half the size of the input
BLOCKS = (1, 2, 4, 2)
EMBEDDING = 96
TEXT_WIDTH = 384  # of rows of the text tower
PRESENCE_FLOOR = -6.0  # log probability; bounds the penalty of an absent class, so that pixels can overrule the image
EVIDENCE = 256  # hidden channels of the evidence head
COARSE_LEVEL = 2  # of the pyramid, stride 16


class ImageFeatures(NamedTuple):
    """Outputs of one image pass: unit vectors `pixels` [B, 96, H/4, W/4] and `image` [B, 96], and `cells`
    [B, 96, H/32, W/32], whose product with a text is the logit of the class being in that cell."""

    pixels: Tensor
    image: Tensor
    cells: Tensor


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions around an identity path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNormRelu(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.second(self.first(maps)) + maps)


def channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Three numbers, one per colour channel, as [1, 3, 1, 1]."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _unit(vectors: Tensor) -> Tensor:
    """Normalise along dimension 1, in float32."""
    vectors = vectors.float()
    # Multiplying by the reciprocal norm saves a tenth of a training step over dividing.
    return vectors * vectors.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()


def _stage(widths: list[int], index: int) -> nn.Sequential:
    width = widths[index]
    entry = [ConvNormRelu(widths[index - 1], width, stride=2)] if index else []
    return nn.Sequential(*entry, *(Residual(width) for _ in range(BLOCKS[index])))


def log_presence(presence: Tensor) -> Tensor:
    """The log probability of `presence` logits, at least PRESENCE_FLOOR."""
    return F.logsigmoid(presence).clamp_min(PRESENCE_FLOOR)


class TinyNetwork(nn.Module):
    """Image tower, text projection and the scalars that turn cosines into logits.

    Input: [B, 3, H, W] float, `(rgb - MEAN) / STD` of 0..255 pixels, H and W multiples of 32.
    """

    text_level: Tensor

    def __init__(self, width: float = 1.0) -> None:
        """Scale the trunk's channels by `width`; decoder and embeddings have fixed widths."""
        super().__init__()
        self.widths = [round(width * channels) for channels in WIDTHS]
        stem = round(width * STEM)
        self.stem = nn.Sequential(ConvNormRelu(3, stem, 2), ConvNormRelu(stem, self.widths[0], 2))
        self.stages = nn.ModuleList(_stage(self.widths, index) for index in range(len(WIDTHS)))
        # Every coarse cell also gets the image's mean: a cow is more likely on a meadow.
        self.context = ConvNormRelu(self.widths[-1] * 2, self.widths[-1], kernel=1)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, EMBEDDING, 1) for channels in self.widths)
        self.smooth = nn.ModuleList(ConvNormRelu(EMBEDDING, EMBEDDING) for _ in WIDTHS)
        self.pixel_head = nn.Conv2d(EMBEDDING, EMBEDDING, 1)
        self.image_head = nn.Sequential(
            nn.Linear(self.widths[-1] * 2, self.widths[-1]),
            nn.ReLU(inplace=True),
            nn.Linear(self.widths[-1], EMBEDDING),
        )
        self.text_projection = nn.Linear(TEXT_WIDTH, EMBEDDING, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.6))  # of the pixel cosine
        self.nobody = nn.Parameter(torch.tensor(0.25))  # the cosine that a class must exceed to win a pixel
        self.presence_log_scale = nn.Parameter(torch.tensor(2.3))
        self.presence_bias = nn.Parameter(torch.tensor(-3.0))
        # Evidence is read from the trunk, before the decoder reduces it to the width of pixel embeddings.
        self.evidence = nn.Sequential(
            nn.Conv2d(self.widths[-1] + self.widths[-2], EVIDENCE, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(EVIDENCE, EMBEDDING, 1),
        )
        for parameter in self.evidence[-1].parameters():
            nn.init.zeros_(parameter)  # an untrained head gives zero evidence
        # Of the bundled weights alone: fitted on training photographs, to correct for the sampling of classes.
        self.register_buffer("text_level", torch.zeros(TEXT_WIDTH))

    def forward(self, images: Tensor) -> ImageFeatures:
        return self.levels(images)[0]

    def levels(self, images: Tensor) -> tuple[ImageFeatures, Tensor]:
        """The features and, for auxiliary losses, the decoder's output at stride 16: [B, 96, H/16, W/16]."""
        pyramid = self.trunk(images)
        decoded = self.smooth[-1](self.lateral[-1](pyramid[-1]))
        coarse = decoded
        for level in range(len(WIDTHS) - 2, -1, -1):
            lateral = self.lateral[level](pyramid[level])
            decoded = F.interpolate(decoded, size=lateral.shape[-2:], mode="bilinear")
            decoded = self.smooth[level](lateral + decoded)
            if level == COARSE_LEVEL:
                coarse = decoded
        image, cells = self._whole_image(pyramid)
        return ImageFeatures(_unit(self.pixel_head(decoded)), image, cells), coarse

    def trunk(self, images: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16 and 32; the last includes the image's mean."""
        maps = self.stem(images)
        pyramid = []
        for stage in self.stages:
            maps = stage(maps)
            pyramid.append(maps)
        mean = maps.mean((2, 3), keepdim=True)
        pyramid[-1] = self.context(torch.cat([maps, mean.expand_as(maps)], 1))
        return pyramid

    def _whole_image(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """`image` and `cells` of the features, from the two coarsest levels of the trunk."""
        finer, coarse = pyramid[-2:]
        # At half size, bilinear is the mean of 2 x 2. Pooling gives another size formula, which an export with dynamic
        # sides cannot unify.
        finer = F.interpolate(finer, size=coarse.shape[-2:], mode="bilinear")
        cells = torch.cat([coarse, finer], 1)  # [B, 576, H/32, W/32]
        pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], 1)
        return _unit(self.image_head(pooled)), self.evidence(cells)

    def project_texts(self, rows: Tensor) -> Tensor:
        """Sentence embeddings [T, 384] -> unit vectors [T, 96] in the pixels' space."""
        return F.normalize(self.text_projection(rows.float()), dim=1)

    def levels_of(self, rows: Tensor) -> Tensor:
        """Sentence embeddings [T, 384] -> level [T], added to the logits of each text's pixels."""
        return F.normalize(rows.float(), dim=1) @ self.text_level

    def presence(self, image: Tensor, cells: Tensor, texts: Tensor) -> Tensor:
        """Logit that a class is anywhere in the image: [..., 96], [..., 96, h, w] and [..., T, 96] -> [..., T].

        The image vector describes the scene; the cells most similar to a text, the objects in it.
        """
        whole = (texts @ image[..., None])[..., 0]
        flat = cells.flatten(-2)
        evidence = torch.logsumexp(texts @ flat, -1) - math.log(flat.shape[-1])
        return self.presence_log_scale.exp() * whole + evidence + self.presence_bias
