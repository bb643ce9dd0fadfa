"""Grounder of TCL: from the output of CLIP's second-last block to one embedding per 4 x 4 pixels.

It consists of a copy of CLIP's last block, a decoder of gated convolutions that upsamples twice, and CLIP's projection
for every pixel. The gates start at zero, so untrained it equals CLIP, upsampled.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.vision import Grid, last_block, patch_map

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

STAGES = 2  # of the decoder; each doubles the resolution
STRIDE = 16 // 2**STAGES  # pixels of the input per cell of the embedding, for patches of 16
SCALE = 10.0  # first value of Sim2Mask's (TCL, section 3.2); with the bias a threshold at cosine 0.25
BIAS = -2.5
EPSILON = 1e-6  # of every normalisation in TCL


def value_only(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Apply a transformer block in which every token attends only to itself.

    The result of attention is the projected value; unlike in MaskCLIP, residual paths and MLP stay.

    Args:
        block: block of a vision transformer; it is not changed.
        tokens: [B, L, width].

    Returns:
        [B, L, width].
    """
    attention = block.attn
    width = tokens.shape[-1]
    values = F.linear(block.ln_1(tokens), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    tokens = tokens + block.ls_1(attention.out_proj(values))
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
        """Embedding of every 4 x 4 pixels, for patches of 16; not normalised.

        Args:
            tokens: [B, 1 + h * w, width] before CLIP's last block, class token first.
            grid: (h, w) of the patches.

        Returns:
            [B, D, 4h, 4w].
        """
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
    """Random binary masks with straight-through gradients (Gumbel-sigmoid, temperature 1).

    Args:
        logits: any shape.
        noise: result of `logistic_noise`, of the same shape.

    Returns:
        0 or 1; the gradient is that of sigmoid(logits + noise).
    """
    soft = torch.sigmoid(logits + noise)
    hard = (soft > 0.5).to(soft.dtype)
    return hard - soft.detach() + soft
