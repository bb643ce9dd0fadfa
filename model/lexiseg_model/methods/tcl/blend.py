"""Text side of TCL: soft masks for any texts from the maps of one image pass.

Masks of the grounder are refined by PAMR, then averaged with CLIP's own masks, which cover more classes (TCL's
knowledge preservation).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.clip.images import Padding
from lexiseg_model.masks import pamr
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.methods.tcl.grounder import EPSILON, Sim2Mask
from lexiseg_model.resources.device import wide
from lexiseg_model.types import StrictModel

KP_THRESHOLD, KP_SCALE = 0.25, 10.0  # of CLIP's own masks; fixed, unlike those of Sim2Mask
BACKGROUND_REFINED, BACKGROUND_PLAIN = 0.4, 0.5  # background threshold of TCL's evaluation, with and without PAMR
ARCHITECTURE = "ViT-B-16"  # the published one


class ImageMaps(NamedTuple):
    """Result of the image pass, for any vocabulary; not normalised."""

    grounder: Tensor  # [B, D, H/4, W/4], embedding of every 4 x 4 pixels
    clip_embedding: Tensor  # [B, D, H/16, W/16], from the values of CLIP's last block


class MaskSettings(NamedTuple):
    """Refinement and weight of CLIP's masks in the average (0: none); the defaults are those of TCL's evaluation."""

    kp_weight: float = 0.3
    pamr: PamrSettings | None = PamrSettings()


def similarity(embedding: Tensor, texts: Tensor) -> Tensor:
    """Products [B, T, h, w], at least float32, of normalised vectors of pixels [B, D, h, w] and texts [T, D]."""
    return torch.einsum("bdhw,td->bthw", F.normalize(wide(embedding), dim=1, eps=EPSILON), wide(texts))


def guide(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Guide of PAMR: normalised images [B, 3, H, W] at the masks' `size` (bilinear, align_corners=True)."""
    return F.interpolate(images, size=size, mode="bilinear", align_corners=True)


def soft_masks(maps: ImageMaps, texts: Tensor, sim2mask: Sim2Mask) -> Tensor:
    """Masks of the grounder, [B, T, H/4, W/4] in 0..1."""
    return torch.sigmoid(sim2mask(similarity(maps.grounder, texts)))


def clip_masks(maps: ImageMaps, texts: Tensor) -> Tensor:
    """CLIP's own masks, [B, T, H/16, W/16] in 0..1."""
    return torch.sigmoid((similarity(maps.clip_embedding, texts) - KP_THRESHOLD) * KP_SCALE)


def refined(masks: Tensor, guides: Tensor, settings: PamrSettings) -> Tensor:
    """Masks [B, T, h, w] refined by PAMR with guides [B, 3, h, w]."""
    return torch.stack([pamr.refine(each, by, settings) for each, by in zip(masks, guides, strict=True)])


def blended(masks: Tensor, preserved: Tensor, weight: float) -> Tensor:
    """Weighted mean of CLIP's masks [B, T, h', w'], upsampled, and of `masks` [B, T, h, w]."""
    upsampled = F.interpolate(preserved, size=masks.shape[-2:], mode="bilinear", align_corners=False)
    return weight * upsampled + (1 - weight) * masks


def finished_masks(
    maps: ImageMaps, texts: Tensor, sim2mask: Sim2Mask, guides: Tensor, settings: MaskSettings
) -> Tensor:
    """Masks as TCL evaluates them, at stride 4.

    Args:
        maps: result of the image pass.
        texts: [T, D], one vector for each class; those of texts have unit length.
        sim2mask: the learned scale and bias.
        guides: [B, 3, H/4, W/4] of `guide`; not used without PAMR.
        settings: PAMR, then the average.

    Returns:
        [B, T, H/4, W/4] in 0..1.
    """
    masks = soft_masks(maps, texts, sim2mask)
    if settings.pamr is not None:
        masks = refined(masks, guides, settings.pamr)
    if settings.kp_weight > 0:
        masks = blended(masks, clip_masks(maps, texts), settings.kp_weight)
    return masks


def to_pixels(masks: Tensor, padded: tuple[int, int], padding: Padding) -> Tensor:
    """Masks [B, T, H, W] of the image: `masks` [B, T, h, w] upsampled to the padded image, without the padding."""
    return padding.crop(F.interpolate(masks, size=padded, mode="bilinear", align_corners=False))


class TclSettings(StrictModel):
    """`settings` of a card of method tcl."""

    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP below, with QuickGELU")
    window: int = Field(448, ge=32, description="side of a sliding window in pixels")
    stride: int = Field(224, ge=16, description="step between windows")
    templates: str = Field("tcl9", description="template set of the text side")
    kp_weight: float = Field(0.3, ge=0, le=1, description="weight of CLIP's own masks in the blend")
    background: float = Field(
        BACKGROUND_PLAIN,
        ge=0,
        le=1,
        description="mask value that a class must exceed to own a pixel, without refinement",
    )
    background_pamr: float = Field(
        BACKGROUND_REFINED, ge=0, le=1, description="mask value that a class must exceed to own a pixel, after PAMR"
    )
    probability_scale: float = Field(
        20.0, gt=0, description="factor of masks before the softmax of `score`; labels do not depend on it"
    )
