"""The promptable mask head of `tiny`: masks for points and boxes from cached image features.

A small U-net makes maps that all prompts share; a prompt costs a few convolutions at strides 16 and 8. The mask that a
point corrects is an input like the point, as in SAM, and a learned gate says where it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.tiny.network import EMBEDDING, ConvNormRelu
from lexiseg_model.methods.tiny.prompt_maps import (
    CHANNELS,
    HEADS,
    POINT_CHANNELS,
    Prompts,
    correction_maps,
    point_maps,
    prompt_maps,
)

MASKS = 4  # candidates for a single positive point, of different extents
COLOURS = 32  # channels of the colours, added to the embeddings
FINE, MID, COARSE = 24, 32, 48  # channels of the shared maps, and of a prompt's own maps at the same stride
GROUPING = 16  # dimensions of each head of the grouping embedding
ATTENTION = 4  # attention maps of the context
JUDGED = 64  # hidden width of the quality estimate
SUREST_LOGIT = 6.0  # largest magnitude in a mask that is corrected, so that the head can outvote it

COLOUR_MEAN = (123.7, 116.3, 103.5)  # of the guide's 0..255 RGB, the ImageNet statistics
COLOUR_STD = (58.4, 57.1, 57.4)


def channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Three numbers, one per colour channel, as [1, 3, 1, 1]."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


class SharedMaps(NamedTuple):
    """Maps of B images that all prompts share: `fine` [B, 24, h, w] at stride 4, `mid` [B, 32, h/2, w/2], `coarse`
    [B, 48, h/4, w/4]; `grouping` [B, 64, h/2, w/2] and `pixels` [B, D, h/2, w/2] hold unit vectors."""

    fine: Tensor
    mid: Tensor
    coarse: Tensor
    grouping: Tensor
    pixels: Tensor


class MaskAnswers(NamedTuple):
    """Logits `masks` [B, N, M, h, w] at stride 4, and `quality` [B, N, M], logits of their expected IoU."""

    masks: Tensor
    quality: Tensor


class Residual(nn.Module):
    """Two 3 x 3 convolutions around an identity path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNormRelu(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.second(self.first(maps)) + maps)


class SharedNetwork(nn.Module):
    """U-net: embeddings [B, D, h, w] and normalised colours [B, 3, 2h, 2w] -> SharedMaps."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.colours = nn.Sequential(ConvNormRelu(3, 24), ConvNormRelu(24, COLOURS, 2))
        self.stem = ConvNormRelu(embedding + COLOURS, 64)
        self.embedding = embedding
        self.eighth = nn.Sequential(ConvNormRelu(64, 96, 2), Residual(96))
        self.sixteenth = nn.Sequential(ConvNormRelu(96, 128, 2), Residual(128))
        self.whole = nn.Sequential(ConvNormRelu(128, 128, 2), Residual(128))
        self.lateral = nn.ModuleList(nn.Conv2d(width, 64, 1) for width in (64, 96, 128, 128))
        self.smooth = nn.ModuleList(ConvNormRelu(64, 64) for _ in range(3))
        self.fine = nn.Conv2d(64, FINE, 1)
        self.mid = nn.Conv2d(64, MID, 1)
        self.coarse = nn.Conv2d(64, COARSE, 1)
        self.grouping = nn.Conv2d(64, HEADS * GROUPING, 1)

    def forward(self, pixels: Tensor, guide: Tensor) -> SharedMaps:
        # Scale unit vectors of D numbers to the magnitude of normalised colours.
        scaled = pixels * self.embedding**0.5
        pyramid = [self.stem(torch.cat([scaled, self.colours(guide)], 1))]
        for stage in (self.eighth, self.sixteenth, self.whole):
            pyramid.append(stage(pyramid[-1]))
        decoded = self.lateral[3](pyramid[3])
        levels = []
        for level in (2, 1, 0):
            lateral = self.lateral[level](pyramid[level])
            decoded = self.smooth[level](lateral + F.interpolate(decoded, size=lateral.shape[-2:], mode="bilinear"))
            levels.append(decoded)
        coarse, mid, fine = levels
        grouping = self.grouping(mid)
        batch, _, height, width = grouping.shape
        unit = F.normalize(grouping.view(batch, HEADS, GROUPING, height, width).float(), dim=2).view_as(grouping)
        return SharedMaps(
            self.fine(fine),
            self.mid(mid),
            self.coarse(coarse),
            unit.to(grouping.dtype).contiguous(),  # contiguous cells, as every prompt reads them
            F.normalize(F.avg_pool2d(pixels.float(), 2), dim=1).to(grouping.dtype),
        )


class Context(nn.Module):
    """Add a global context vector, from a few attention maps and the mean, to every cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(channels, ATTENTION, 1)
        self.mix = nn.Sequential(
            nn.Linear((ATTENTION + 1) * channels, 2 * channels),
            nn.ReLU(inplace=True),
            nn.Linear(2 * channels, channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.attention(maps).flatten(2).softmax(2)  # [P, ATTENTION, h*w]
        attended = weights @ maps.flatten(2).mT  # [P, ATTENTION, C]
        mixed: Tensor = self.mix(torch.cat([attended.flatten(1), maps.mean((2, 3))], 1))
        return maps + mixed[..., None, None]


class MaskOutput(nn.Module):
    """Predict M masks at stride 4 and their quality from a prompt's maps at stride 8."""

    def __init__(self, masks: int, embedding: int) -> None:
        super().__init__()
        self.masks, self.embedding = masks, embedding
        self.project = nn.Conv2d(MID, FINE + masks, 1)
        self.edges = nn.Conv2d(FINE, masks, 1)
        self.seen = nn.Linear(MID + embedding + 3, JUDGED)
        self.which = nn.Parameter(torch.zeros(masks, JUDGED))
        self.quality = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(JUDGED, JUDGED), nn.ReLU(inplace=True), nn.Linear(JUDGED, 1)
        )

    def forward(self, maps: Tensor, shared: SharedMaps) -> MaskAnswers:
        """`maps` [B * N, MID, h/2, w/2] of N prompts for each of B images."""
        logits = self.logits(maps, shared.fine)
        return MaskAnswers(logits, self.quality_of(maps, shared.pixels, logits))

    def logits(self, maps: Tensor, fine: Tensor) -> Tensor:
        """[B, N, M, h, w] of maps [B * N, MID, h/2, w/2] and shared ones [B, FINE, h, w]."""
        batch, channels, height, width = fine.shape
        upsampled = F.interpolate(self.project(maps), size=(height, width), mode="bilinear")
        upsampled = upsampled.view(batch, -1, channels + self.masks, height, width)
        gates, coarse_logits = upsampled[:, :, :channels], upsampled[:, :, channels:]
        edges: Tensor = self.edges((gates * fine[:, None]).flatten(0, 1))
        return coarse_logits + edges.view_as(coarse_logits)

    def quality_of(self, maps: Tensor, pixels: Tensor, logits: Tensor) -> Tensor:
        """Quality logits [B, N, M], from the features under each mask and the sharpness of its edge."""
        batch, n = logits.shape[:2]
        inside = F.avg_pool2d(logits.detach().flatten(0, 1).float(), 2).sigmoid().flatten(2)  # [B * N, M, cells]
        total = inside.sum(2, keepdim=True)
        share = (inside / (total + 1)).to(maps.dtype)
        prompt_mean = share @ maps.flatten(2).mT  # [B * N, M, MID]
        pixel_mean = share.reshape(batch, n * self.masks, -1) @ pixels.flatten(2).mT  # [B, N * M, D]
        pixel_mean = pixel_mean.view(batch * n, self.masks, -1) * self.embedding**0.5
        confidence = (inside * inside).sum(2, keepdim=True) / (total + 1e-3)
        blur = (inside * (1 - inside)).sum(2, keepdim=True) / (total + 1)
        size = (total / inside.shape[2] + 1e-4).log()
        inputs = torch.cat([prompt_mean, pixel_mean, confidence, blur, size], 2).to(maps.dtype)
        hidden = self.seen(inputs) + self.which
        quality: Tensor = self.quality(hidden)
        return quality[..., 0].view(batch, n, self.masks)


class PromptHead(nn.Module):
    """The promptable head: `shared` once per image, then `click_masks` and `prompt_mask` for its prompts."""

    def __init__(self, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.embedding = embedding
        self.shared = SharedNetwork(embedding)
        self.first = nn.Conv2d(CHANNELS, COARSE, 3, 1, 1)
        self.middle = nn.Sequential(
            Residual(COARSE), Context(COARSE), Residual(COARSE), Context(COARSE), Residual(COARSE)
        )
        self.second = nn.Conv2d(CHANNELS, MID, 1)
        self.widen = nn.Conv2d(COARSE, MID, 1)
        self.last = nn.Sequential(nn.BatchNorm2d(MID), nn.ReLU(inplace=True), Residual(MID), Residual(MID))
        self.enter = nn.Sequential(nn.BatchNorm2d(COARSE), nn.ReLU(inplace=True))
        self.of_lone = MaskOutput(MASKS, embedding)
        self.of_sure = MaskOutput(1, embedding)
        self.stays = nn.Conv2d(MID, 1, 1)  # of a mask that is corrected, logit

    @classmethod
    def for_weights(cls, tensors: Mapping[str, Tensor]) -> PromptHead:
        """A head of the shape that tensors by name have; EMBEDDING wide if they are of another head."""
        stem = tensors.get("shared.stem.0.weight")
        return cls(EMBEDDING if stem is None or stem.ndim != 4 else stem.shape[1] - COLOURS)

    def click_masks(self, shared: SharedMaps, prompts: Prompts) -> MaskAnswers:
        """Four masks for each prompt, a single positive point."""
        # All other input channels are zero for a single point and are left out.
        inputs = point_maps(prompts, shared.grouping, shared.pixels)
        maps = self._own_maps(
            shared, inputs, self.first.weight[:, POINT_CHANNELS], self.second.weight[:, POINT_CHANNELS]
        )
        answers: MaskAnswers = self.of_lone(maps, shared)
        return answers

    def prompt_mask(self, shared: SharedMaps, prompts: Prompts, corrected: Tensor | None = None) -> MaskAnswers:
        """One mask for each prompt: of a box, points or both; or of `corrected`, logits [B, N, h, w], and points."""
        if corrected is not None:
            return self.corrected_mask(shared, prompts, corrected, torch.ones_like(prompts.has_box))
        inputs = prompt_maps(prompts, shared.grouping, shared.pixels)
        maps = self._own_maps(shared, inputs, self.first.weight, self.second.weight)
        answers: MaskAnswers = self.of_sure(maps, shared)
        return answers

    def corrected_mask(self, shared: SharedMaps, prompts: Prompts, corrected: Tensor, corrects: Tensor) -> MaskAnswers:
        """As `prompt_mask`, where `corrects` [B, N] is 1 for prompts that correct a mask, else 0."""
        has_mask, before = corrects[..., None, None, None], corrected.float().clamp(-SUREST_LOGIT, SUREST_LOGIT)
        inputs = prompt_maps(prompts, shared.grouping, shared.pixels, correction_maps(corrected) * has_mask)
        maps = self._own_maps(shared, inputs, self.first.weight, self.second.weight)
        stays = F.interpolate(self.stays(maps), size=corrected.shape[-2:], mode="bilinear").view(corrected.shape)
        gate, logits = stays.float().sigmoid()[:, :, None] * has_mask, self.of_sure.logits(maps, shared.fine).float()
        logits = torch.lerp(logits, before[:, :, None], gate)
        return MaskAnswers(logits, self.of_sure.quality_of(maps, shared.pixels, logits))

    def _own_maps(self, shared: SharedMaps, inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """A prompt's own maps [B * N, MID, h/2, w/2] from its inputs [B, N, C, h/2, w/2] and the filters for them."""
        n = inputs.shape[1]
        inputs = inputs.flatten(0, 1).to(shared.mid.dtype).contiguous(memory_format=torch.channels_last)
        coarse = F.conv2d(F.avg_pool2d(inputs, 2), first, self.first.bias, padding=1)
        coarse = self.middle(self.enter(_add_shared(coarse, shared.coarse, n)))
        upsampled = F.interpolate(self.widen(coarse), size=inputs.shape[-2:], mode="bilinear")
        own = F.conv2d(inputs, second, self.second.bias).add_(upsampled)
        maps: Tensor = self.last(_add_shared(own, shared.mid, n))
        return maps


def _add_shared(maps: Tensor, shared: Tensor, n: int) -> Tensor:
    """Add each image's shared map [B, C, h, w] to the maps [B * n, C, h, w] of its n prompts, in place."""
    maps.view(len(shared), n, *maps.shape[1:]).add_(shared[:, None])
    return maps
