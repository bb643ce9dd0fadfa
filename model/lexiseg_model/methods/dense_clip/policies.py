"""Attention policies: replacements of the attention in CLIP's last block.

| policy    | attention                         | residual, feed-forward | source                     |
|-----------|-----------------------------------|------------------------|----------------------------|
| maskclip  | none: values only                 | dropped                | Zhou et al., ECCV 2022     |
| sclip     | softmax(q q' s) + softmax(k k' s) | kept                   | Wang et al., ECCV 2024     |
| naclip    | softmax(k k' s + G), a Gaussian G | dropped                | Hajimiri et al., WACV 2025 |

s is the inverse root of a head's width; the two terms of sclip are summed, not averaged. The class token takes part in
attention and is dropped at the end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.vision import Grid, Tokens, last_block, patch_map, project

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer
    from torch import nn


def heads_of(attention: nn.MultiheadAttention, tokens: Tensor, part: Literal["query", "key", "value"]) -> Tensor:
    """Queries, keys or values [N, heads, L, d] of an attention layer for tokens [N, L, width] after its layer norm."""
    index, width = ("query", "key", "value").index(part), attention.embed_dim
    rows = slice(index * width, (index + 1) * width)
    assert attention.in_proj_weight is not None
    assert attention.in_proj_bias is not None
    projected = F.linear(tokens, attention.in_proj_weight[rows], attention.in_proj_bias[rows])
    count, length, _ = projected.shape
    return projected.view(count, length, attention.num_heads, -1).transpose(1, 2)


@lru_cache(maxsize=8)
def neighbourhood(grid: Grid, std: float, device: torch.device) -> Tensor:
    """Gaussian exp(-distance^2 / (2 std^2)) of patches (NACLIP, eq. 5): float32 [1 + h*w, 1 + h*w], class token 0.

    Cached, since a service has few tile shapes.
    """
    with torch.inference_mode(False):  # the result outlives this pass
        rows, columns = (
            torch.exp(-((steps[:, None] - steps[None, :]) ** 2) / (2 * std**2))
            for steps in (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
        )
        both = rows[:, None, :, None] * columns[None, :, None, :]  # [h, w, h, w]
        patches = grid[0] * grid[1]
        return F.pad(both.reshape(patches, patches), (1, 0, 1, 0))


def dense_map(visual: VisionTransformer, entering: Tokens, policy: str, std: float) -> Tensor:
    """Vectors of patches in the text space, not of unit length.

    Args:
        visual: the image tower.
        entering: tokens before its last block (`tokens_before_last_block`).
        policy: maskclip, sclip or naclip.
        std: deviation of NACLIP's Gaussian, in patches.

    Returns:
        [N, D, h, w].
    """
    block = last_block(visual)
    tokens, grid = entering
    normed = block.ln_1(tokens)
    values = heads_of(block.attn, normed, "value")
    attend = F.scaled_dot_product_attention
    if policy == "maskclip":
        mixed = values
    elif policy == "naclip":
        keys = heads_of(block.attn, normed, "key")
        mixed = attend(keys, keys, values, attn_mask=neighbourhood(grid, std, keys.device).to(keys.dtype))
    else:
        queries, keys = (heads_of(block.attn, normed, part) for part in ("query", "key"))
        mixed = attend(queries, queries, values) + attend(keys, keys, values)
    mixed = mixed.transpose(1, 2).flatten(2)  # [N, heads, L, d] -> [N, L, width]
    changed = block.ls_1(block.attn.out_proj(mixed))
    if policy == "sclip":
        changed = tokens + changed
        changed = changed + block.ls_2(block.mlp(block.ln_2(changed)))
    return patch_map(project(visual, changed[:, 1:]), grid)
