"""ProxyCLIP (Lan et al., ECCV 2024): DINO says which patches belong together, CLIP says what they are.

The last block's values are averaged over the patches that a self-supervised tower finds alike. The answer lives on
that tower's grid, which is finer than CLIP's with 8-pixel patches.
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

BETA = 1.2  # of the mean similarity, below which patches ignore each other; ProxyCLIP, eq. 6
GAMMA = 3.0  # sharpness


def proxy_map(
    visual: VisionTransformer, entering: Tokens, proxy: Tensor, beta: float = BETA, gamma: float = GAMMA
) -> Tensor:
    """Vectors in the space of texts on the proxy's grid, not yet of unit length.

    The value grid is read as (rows, columns). The released code swaps the two and takes the proxy's grid as square:
    the same for square windows, scrambled for others.

    Args:
        visual: CLIP's image tower.
        entering: tokens that enter its last block.
        proxy: the other tower's map [N, C, rows, columns] of the same images.
        beta, gamma: the rule that turns similarities into attention.

    Returns:
        [N, D, rows, columns].

    Raises:
        ShapeError: not one proxy map for each image.
    """
    if proxy.ndim != 4 or len(proxy) != len(entering.tokens):
        raise ShapeError(f"expected proxy maps [{len(entering.tokens)}, C, h, w], got {list(proxy.shape)}")
    block = last_block(visual)
    grid = (proxy.shape[2], proxy.shape[3])
    plane = values_on(visual, entering, grid)  # residual and feed-forward layer are dropped, as is the class token
    # One image at a time: the mean similarity is the image's own, whatever else is in the batch.
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
    """Attention of one image's patches, the same for all heads.

    softmax(gamma (S - beta mean(S))) over the patches where it is not negative, S the cosine similarities with a
    patch's own included.

    Args:
        proxy: [C, h, w].
        beta, gamma: as above.

    Returns:
        [h*w, h*w] float32; rows sum to 1.
    """
    units = F.normalize(proxy.float().flatten(1), dim=0)
    with torch.autocast(proxy.device.type, enabled=False):  # a threshold is set on these numbers
        similarity = units.T @ units
        logits = gamma * (similarity - beta * similarity.mean())
        logits = logits.masked_fill(logits < 0, float("-inf"))
    # On a picture of one colour the mean times beta exceeds even a patch's likeness to itself, and a row without any
    # entry would be no number: there every patch keeps its own value. Elsewhere the diagonal is positive already.
    logits.diagonal().clamp_(min=0)
    return logits.softmax(1)
