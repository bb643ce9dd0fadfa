"""ProxyCLIP (Lan et al., ECCV 2024): CLIP's values, averaged over patches that are similar for DINO.

The result is on DINO's grid, which with 8-pixel patches is finer than CLIP's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.vision import Grid, Tokens, last_block, patch_map, project
from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.dense_clip.policies import heads_of

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

BETA = 1.2  # factor of the mean similarity below which patches ignore each other; ProxyCLIP, eq. 6
GAMMA = 3.0  # sharpness


def proxy_map(
    visual: VisionTransformer, entering: Tokens, proxy: Tensor, beta: float = BETA, gamma: float = GAMMA
) -> Tensor:
    """Vectors in the text space on the proxy's grid, not of unit length.

    The released code swaps rows and columns of the values and takes the proxy's grid as square, which is the same for
    square windows and wrong for others.

    Args:
        visual: CLIP's image tower.
        entering: tokens before its last block.
        proxy: maps [N, C, rows, columns] of the other tower for the same images.
        beta, gamma: as in `proxy_attention`.

    Returns:
        [N, D, rows, columns].

    Raises:
        ShapeError: the proxy maps are not [N, C, h, w].
    """
    if proxy.ndim != 4 or len(proxy) != len(entering.tokens):
        raise ShapeError(f"expected proxy maps [{len(entering.tokens)}, C, h, w], got {list(proxy.shape)}")
    block = last_block(visual)
    grid = (proxy.shape[2], proxy.shape[3])
    plane = values_on(visual, entering, grid)  # without residual, feed-forward layer and class token
    # One image at a time: the mean similarity is that of the image.
    mixed = torch.stack(
        [
            proxy_attention(likeness, beta, gamma).to(value.dtype) @ value.flatten(1).T  # [P, P] x [P, width]
            for likeness, value in zip(proxy, plane, strict=True)
        ]
    )
    return patch_map(project(visual, block.ls_1(block.attn.out_proj(mixed))), grid)


def values_on(visual: VisionTransformer, entering: Tokens, grid: Grid) -> Tensor:
    """Values of the last block's patches on another grid (h, w), bilinear: [N, width, h, w]."""
    block = last_block(visual)
    values = heads_of(block.attn, block.ln_1(entering.tokens[:, 1:]), "value")
    return F.interpolate(patch_map(values.transpose(1, 2).flatten(2), entering.grid), size=grid, mode="bilinear")


def proxy_attention(proxy: Tensor, beta: float = BETA, gamma: float = GAMMA) -> Tensor:
    """Attention of one image's patches, the same for all heads (ProxyCLIP, eq. 6).

    softmax(gamma (S - beta mean(S))) over the patches where the logit is not negative; S are cosine similarities.

    Args:
        proxy: map [C, h, w] of the other tower.
        beta: factor of the mean similarity that is subtracted.
        gamma: sharpness.

    Returns:
        [h*w, h*w] float32; rows sum to 1.
    """
    units = F.normalize(proxy.float().flatten(1), dim=0)
    with torch.autocast(proxy.device.type, enabled=False):  # these numbers are compared with a threshold
        similarity = units.T @ units
        logits = gamma * (similarity - beta * similarity.mean())
        logits = logits.masked_fill(logits < 0, float("-inf"))
    # In a picture of one colour even the diagonal is negative, and empty rows would give NaN; patches then keep their
    # own values. Otherwise the diagonal is positive.
    logits.diagonal().clamp_(min=0)
    return logits.softmax(1)
