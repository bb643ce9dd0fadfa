"""Attention policies: what each method does in place of the last block's attention. The rest of CLIP is shared.

| policy    | attention                         | residual, feed-forward | source                     |
|-----------|-----------------------------------|------------------------|----------------------------|
| MaskClip  | none: the value alone             | dropped                | Zhou et al., ECCV 2022     |
| Sclip     | softmax(q q' s) + softmax(k k' s) | kept                   | Wang et al., ECCV 2024     |
| Naclip    | softmax(k k' s + G), a Gaussian G | dropped                | Hajimiri et al., WACV 2025 |

s is the inverse root of a head's width. All attend over the class token, too, which is dropped at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.vision import Grid, Tokens, last_block, patch_map, project

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer
    from torch import nn


class Heads:
    """Queries, keys and values of one attention layer, each [N, heads, L, d] and computed when it is asked for."""

    def __init__(self, attention: nn.MultiheadAttention, tokens: Tensor) -> None:
        self._attention = attention
        self._tokens = tokens  # [N, L, width], after the layer norm

    def queries(self) -> Tensor:
        return self._part(0)

    def keys(self) -> Tensor:
        return self._part(1)

    def values(self) -> Tensor:
        return self._part(2)

    def _part(self, index: int) -> Tensor:
        width = self._attention.embed_dim
        rows = slice(index * width, (index + 1) * width)
        assert self._attention.in_proj_weight is not None
        assert self._attention.in_proj_bias is not None
        projected = F.linear(self._tokens, self._attention.in_proj_weight[rows], self._attention.in_proj_bias[rows])
        count, length, _ = projected.shape
        return projected.view(count, length, self._attention.num_heads, -1).transpose(1, 2)


class AttentionPolicy(Protocol):
    """Mixes values over tokens. `keeps_rest`: residual paths and feed-forward layer stay as in CLIP."""

    @property
    def keeps_rest(self) -> bool: ...

    def mix(self, heads: Heads, grid: Grid) -> Tensor:
        """[N, heads, 1 + h*w, d], the class token first."""


@dataclass(frozen=True)
class MaskClip:
    """Every token keeps its own value."""

    keeps_rest: bool = False

    def mix(self, heads: Heads, grid: Grid) -> Tensor:
        return heads.values()


@dataclass(frozen=True)
class Sclip:
    """Queries attend to queries and keys to keys; the two are summed, not averaged."""

    keeps_rest: bool = True

    def mix(self, heads: Heads, grid: Grid) -> Tensor:
        queries, keys, values = heads.queries(), heads.keys(), heads.values()
        by_queries = F.scaled_dot_product_attention(queries, queries, values)
        return by_queries + F.scaled_dot_product_attention(keys, keys, values)


@dataclass(frozen=True)
class Naclip:
    """Keys attend to keys, the nearer the rather: a Gaussian of `std` patches is added to the logits."""

    std: float = 5.0
    keeps_rest: bool = False

    def mix(self, heads: Heads, grid: Grid) -> Tensor:
        keys = heads.keys()
        nearness = neighbourhood(grid, self.std, keys.device).to(keys.dtype)
        return F.scaled_dot_product_attention(keys, keys, heads.values(), attn_mask=nearness)


@lru_cache(maxsize=8)
def neighbourhood(grid: Grid, std: float, device: torch.device) -> Tensor:
    """exp(-distance^2 / (2 std^2)) between patches, [1 + h*w, 1 + h*w] float32; 0 for the class token. NACLIP, eq. 5.

    Kept for the last grids: a service has few tile shapes.
    """
    with torch.inference_mode(False):  # kept beyond the pass that asked first
        rows, columns = (
            torch.exp(-((steps[:, None] - steps[None, :]) ** 2) / (2 * std**2))
            for steps in (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
        )
        both = rows[:, None, :, None] * columns[None, :, None, :]  # [h, w, h, w]
        patches = grid[0] * grid[1]
        return F.pad(both.reshape(patches, patches), (1, 0, 1, 0))


def dense_map(visual: VisionTransformer, entering: Tokens, policy: AttentionPolicy) -> Tensor:
    """Vectors in the space of texts for every patch, not yet of unit length.

    Args:
        visual: the image tower.
        entering: tokens that enter its last block (`tokens_before_last_block`).
        policy: what happens there.

    Returns:
        [N, D, h, w].
    """
    block = last_block(visual)
    tokens, grid = entering
    mixed = policy.mix(Heads(block.attn, block.ln_1(tokens)), grid)
    mixed = mixed.transpose(1, 2).flatten(2)  # [N, heads, L, d] -> [N, L, width]
    changed = block.ls_1(block.attn.out_proj(mixed))
    if policy.keeps_rest:
        changed = tokens + changed
        changed = changed + block.ls_2(block.mlp(block.ln_2(changed)))
    return patch_map(project(visual, changed[:, 1:]), grid)
