"""TCL network: a frozen CLIP image tower, the grounder on its second-last block, and soft masks for any texts.

The grounder, a copy of CLIP's last block and gated convolutions that upsample twice, gives one embedding per 4 x 4
pixels. Its masks, refined by PAMR, are averaged with CLIP's own (knowledge preservation).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.cards import StrictModel
from lexiseg_model.clip import vision
from lexiseg_model.clip.images import prepare_tiles
from lexiseg_model.clip.vision import Grid, PositionRule, Tokens, last_block, patch_map
from lexiseg_model.masks import pamr
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.resources.device import wide

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

STAGES = 2  # of the decoder; each doubles the resolution
STRIDE = 16 // 2**STAGES  # pixels of the input per cell of the embedding, for patches of 16
SCALE = 10.0  # first value of Sim2Mask's (TCL, section 3.2); with the bias a threshold at cosine 0.25
BIAS = -2.5
EPSILON = 1e-6  # of every normalisation in TCL
KP_THRESHOLD, KP_SCALE = 0.25, 10.0  # of CLIP's own masks; fixed, unlike Sim2Mask's
ARCHITECTURE = "ViT-B-16"  # the published one
POSITIONS: PositionRule = "size"
PATCH = 16


def value_only(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """A transformer block for tokens [B, L, width] that attend only to themselves; unlike in MaskCLIP, MLP and
    residuals stay."""
    values = vision.heads_of(block.attn, block.ln_1(tokens), "value").transpose(1, 2).flatten(2)
    tokens = tokens + block.ls_1(block.attn.out_proj(values))
    mixed: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return mixed


class GatedConvolution(nn.Module):
    """Channel norm, GELU and 3 x 3 convolution, scaled by the tanh of a gate that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Residual [B, C, h, w] for maps [B, C, h, w]."""
        normed = self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        added: Tensor = torch.tanh(self.gate) * self.conv(F.gelu(normed))
        return added


class DecoderStage(nn.Module):
    """Upsampling to twice the size by repetition, then two residual gated convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = GatedConvolution(width)
        self.second = GatedConvolution(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, C, 2h, 2w] of maps [B, C, h, w]."""
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        maps = maps + self.first(maps)
        refined: Tensor = maps + self.second(maps)
        return refined


class PixelProjection(nn.Module):
    """CLIP's final norm and projection into the text space, for every pixel."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.norm = deepcopy(visual.ln_post)
        self.matrix = nn.Parameter(visual.proj.detach().clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Vectors [B, D, h, w] of maps [B, width, h, w], not normalised."""
        projected: Tensor = self.norm(maps.permute(0, 2, 3, 1)) @ self.matrix
        return projected.permute(0, 3, 1, 2)


class Grounder(nn.Module):
    """Learned part of TCL's image side; untrained, it equals the CLIP tower that it is built from."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.block = deepcopy(last_block(visual))
        self.stages = nn.ModuleList(DecoderStage(visual.proj.shape[0]) for _ in range(STAGES))
        self.projection = PixelProjection(visual)
        self.requires_grad_(True)  # also if the tower is frozen

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Embedding [B, D, 4h, 4w], not normalised, of tokens [B, 1 + h * w, width] before CLIP's last block."""
        maps = patch_map(value_only(self.block, tokens)[:, 1:], grid)
        for stage in self.stages:
            maps = stage(maps)
        embedding: Tensor = self.projection(maps)
        return embedding


class Sim2Mask(nn.Module):
    """Learned affine map of similarities to mask logits (TCL, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, similarity: Tensor) -> Tensor:
        """Logits of the soft mask, `scale * similarity + bias`, of any shape."""
        return self.scale * similarity + self.bias


def logistic_noise(uniform: Tensor) -> Tensor:
    """Samples of the logistic distribution, a difference of two Gumbel ones, from uniform samples in (0, 1)."""
    return torch.log(uniform / (1 - uniform))


def hard_mask(logits: Tensor, noise: Tensor) -> Tensor:
    """Random binary masks, 0 or 1, with the gradient of sigmoid(logits + noise) (Gumbel-sigmoid, temperature 1)."""
    soft = torch.sigmoid(logits + noise)
    hard = (soft > 0.5).to(soft.dtype)
    return hard - soft.detach() + soft


class ImageMaps(NamedTuple):
    """Result of the image pass, for any vocabulary; not normalised."""

    grounder: Tensor  # [B, D, H/4, W/4], embedding of every 4 x 4 pixels
    clip_embedding: Tensor  # [B, D, H/16, W/16], from the values of CLIP's last block


class MaskSettings(NamedTuple):
    """Refinement and weight of CLIP's masks in the average (0: none); defaults as in TCL's evaluation."""

    kp_weight: float = 0.3
    pamr: PamrSettings | None = PamrSettings()


def similarity(embedding: Tensor, texts: Tensor) -> Tensor:
    """Products [B, T, h, w], at least float32, of normalised vectors of pixels [B, D, h, w] and texts [T, D]."""
    return torch.einsum("bdhw,td->bthw", F.normalize(wide(embedding), dim=1, eps=EPSILON), wide(texts))


def finished_masks(maps: ImageMaps, texts: Tensor, sim2mask: Sim2Mask, image: Tensor, settings: MaskSettings) -> Tensor:
    """Masks [1, T, H/4, W/4] in 0..1 as TCL evaluates them, of a normalised image [1, 3, H, W] and vectors [T, D]."""
    masks = torch.sigmoid(sim2mask(similarity(maps.grounder, texts)))
    if settings.pamr is not None:
        guide = F.interpolate(image, size=masks.shape[-2:], mode="bilinear", align_corners=True)
        masks = pamr.refine(masks[0], guide[0], settings.pamr)[None]
    if settings.kp_weight > 0:
        of_clip = torch.sigmoid((similarity(maps.clip_embedding, texts) - KP_THRESHOLD) * KP_SCALE)
        of_clip = F.interpolate(of_clip, size=masks.shape[-2:], mode="bilinear", align_corners=False)
        masks = settings.kp_weight * of_clip + (1 - settings.kp_weight) * masks
    return masks


class TclSettings(StrictModel):
    """`settings` of a card of method tcl."""

    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP below, with QuickGELU")
    window: int = Field(448, ge=32, description="side of a sliding window in pixels")
    stride: int = Field(224, ge=16, description="step between windows")
    templates: str = Field("tcl9", description="template set of the text side")
    kp_weight: float = Field(0.3, ge=0, le=1, description="weight of CLIP's own masks in the blend")
    # The thresholds of TCL's evaluation.
    background: float = Field(0.5, ge=0, le=1, description="mask value that a class must exceed to own a pixel")
    background_pamr: float = Field(0.4, ge=0, le=1, description="the same, after PAMR")
    probability_scale: float = Field(
        20.0, gt=0, description="factor of masks before the softmax of `score`; labels do not depend on it"
    )


class TclNetwork(nn.Module):
    """Image side of TCL, for images [B, 3, H, W] by ImageNet's statistics; may run under autocast, masks are
    float32."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        vision.require_plain_vit(visual)
        self.visual = visual
        self.grounder = Grounder(visual)
        self.sim2mask = Sim2Mask()
        visual.requires_grad_(False)

    def forward(self, images: Tensor) -> ImageMaps:
        """Both maps of images [B, 3, H, W]."""
        tokens = self.tokens(images)
        return ImageMaps(self.grounder(*tokens), self.clip_embedding(self.dense(tokens)))

    def tokens(self, images: Tensor) -> Tokens:
        """Output [B, 1 + h * w, width] of the second-last block, class token first."""
        return vision.tokens_before_last_block(self.visual, images, POSITIONS)

    def dense(self, tokens: Tokens) -> Tensor:
        """Patches [B, width, h, w] after CLIP's last block on values only, before the final norm."""
        return vision.patch_map(value_only(vision.last_block(self.visual), tokens.tokens)[:, 1:], tokens.grid)

    def clip_embedding(self, dense: Tensor) -> Tensor:
        """Final norm and projection of patches [B, width, h, w]: [B, D, h, w], not normalised."""
        return vision.project(self.visual, dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def image_embedding(self, images: Tensor) -> Tensor:
        """CLIP's vectors [B, D] of whole images, by normal attention; not normalised."""
        return vision.image_embedding(self.visual, self.tokens(images))


class ImagePass(nn.Module):
    """Image side for uint8 tiles, as one module for serving and export."""

    def __init__(self, network: TclNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """The `ImageMaps` of tiles uint8 [N, 3, s, t], padded to whole patches."""
        return tuple(self.network(prepare_tiles(tiles, PATCH, "imagenet", self.network.visual.conv1.weight.dtype)))
