"""The grounder of TCL: from CLIP's second-last block to one embedding per 4 x 4 pixels.

A copy of CLIP's last block, a decoder of gated convolutions that upsamples twice, and CLIP's own projection applied to
every pixel. It starts as CLIP itself, upsampled: the gates start at nothing.
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
STRIDE = 16 // 2**STAGES  # pixels of the input per cell of the embedding, along each axis, for patches of 16


def value_only(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """A transformer block in which every token attends to itself alone.

    What attention gives is then the projected value; the residual paths and the MLP stay, unlike in MaskCLIP.
    Queries and keys take no part.

    Args:
        block: of a vision transformer, untouched.
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
    """Channel norm, GELU, 3 x 3 convolution, scaled by the tanh of a gate that starts at zero: [B, C, h, w] -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w], to be added to what came in."""
        normed = self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        added: Tensor = torch.tanh(self.gate) * self.conv(F.gelu(normed))
        return added


class DecoderStage(nn.Module):
    """Every cell becomes 2 x 2 equal ones, which two gated convolutions set apart: [B, C, h, w] -> [B, C, 2h, 2w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = GatedConvolution(width)
        self.second = GatedConvolution(width)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2h, 2w]."""
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        maps = maps + self.first(maps)
        refined: Tensor = maps + self.second(maps)
        return refined


class PixelProjection(nn.Module):
    """Norm and projection into the space of texts, for every pixel: [B, width, h, w] -> [B, D, h, w]."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.norm = deepcopy(visual.ln_post)
        self.matrix = nn.Parameter(visual.proj.detach().clone())

    def forward(self, maps: Tensor) -> Tensor:
        """[B, width, h, w] -> [B, D, h, w], not normalised."""
        projected: Tensor = self.norm(maps.permute(0, 2, 3, 1)) @ self.matrix
        return projected.permute(0, 3, 1, 2)


class Grounder(nn.Module):
    """The learned part of TCL's image side; new, it is the CLIP tower that it was made from."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.block = deepcopy(last_block(visual))
        self.stages = nn.ModuleList(DecoderStage(visual.proj.shape[0]) for _ in range(STAGES))
        self.projection = PixelProjection(visual)
        self.requires_grad_(True)  # whatever the tower says

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Embedding of every 4 x 4 pixels (of patches of 16), not normalised.

        Args:
            tokens: [B, 1 + h * w, width] that enter CLIP's last block, CLS first.
            grid: (h, w) of the patches.

        Returns:
            [B, D, 4h, 4w].
        """
        maps = patch_map(value_only(self.block, tokens)[:, 1:], grid)
        for stage in self.stages:
            maps = stage(maps)
        embedding: Tensor = self.projection(maps)
        return embedding


SCALE = 10.0  # TCL, section 3.2: where training starts; with the bias a threshold at cosine 0.25
BIAS = -2.5
EPSILON = 1e-6  # of every normalisation in TCL


class Sim2Mask(nn.Module):
    """Similarity in -1..1 -> logit, `scale * similarity + bias`."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, similarity: Tensor) -> Tensor:
        """[...] cosines -> [...] logits; their sigmoid is the soft mask."""
        return self.scale * similarity + self.bias


def logistic_noise(uniform: Tensor) -> Tensor:
    """Uniform samples inside (0, 1) -> samples of the logistic distribution, the difference of two Gumbel ones."""
    return torch.log(uniform / (1 - uniform))


def hard_mask(logits: Tensor, noise: Tensor) -> Tensor:
    """Binary masks by chance, through which gradients flow as if they were soft (Gumbel-sigmoid, temperature 1).

    Args:
        logits: any shape.
        noise: same shape, of `logistic_noise`.

    Returns:
        0 or 1 by value; the gradient is that of sigmoid(logits + noise).
    """
    soft = torch.sigmoid(logits + noise)
    hard = (soft > 0.5).to(soft.dtype)
    return hard - soft.detach() + soft
