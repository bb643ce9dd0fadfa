"""What CLIP-DINOiser's heads learn from: a DINO tower's idea of what belongs together, and of what is an object.

Which patches belong together is said by the values of DINO's last block (CLIP-DINOiser, section 3.2). What is an object
the authors ask of FOUND (Siméoni et al., CVPR 2023); here it is the first step of FOUND, which needs no weights of its
own: the patch that DINO's class token heeds least shows background, and so does whatever has a key like its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.vision import Grid, patch_map


class Taught(NamedTuple):
    """`together` [N, P, P], which of the P = h * w patches belong to each other; `objects` [N, h, w]; both bool."""

    together: Tensor
    objects: Tensor


class LastBlock(NamedTuple):
    """What the last block makes of its tokens, [N, 1 + h*w, heads, width of a head], class token first."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class Teacher(nn.Module):
    """A frozen tower and two thresholds."""

    def __init__(self, tower: DinoTower, least_correlation: float, background_likeness: float) -> None:
        """
        Args:
            tower: of DINO's make.
            least_correlation: patches whose values are more alike belong together (gamma, 0.2).
            background_likeness: patches whose keys are at least so like that of the seed show background (tau of
                FOUND, 0.3).
        """
        super().__init__()
        self.tower = tower.requires_grad_(False)
        self.least_correlation = least_correlation
        self.background_likeness = background_likeness

    @torch.no_grad()
    def forward(self, images: Tensor, grid: Grid) -> Taught:
        """What the tower sees in images [N, 3, H, W] of ImageNet's statistics, on a grid of (h, w) cells."""
        patch = self.tower.kind.patch
        sides = (images.shape[2] // patch, images.shape[3] // patch)
        block = last_block(self.tower, images)
        values, keys = (_on_grid(part[:, 1:].flatten(2), sides, grid) for part in (block.values, block.keys))
        together = values.transpose(1, 2) @ values > self.least_correlation
        heed = _on_grid(heeded(block)[:, :, None], sides, grid, unit=False)[:, 0]  # [N, P]
        seed = keys[torch.arange(len(keys)), :, heed.argmin(1)]  # [N, C]
        background = torch.einsum("nc,ncp->np", seed, keys) >= self.background_likeness
        return Taught(together, ~background.view(len(background), *grid))


def heeded(block: LastBlock) -> Tensor:
    """How much the class token attends to every patch, the mean over heads: [N, h*w]."""
    scale = block.queries.shape[-1] ** -0.5
    scores = torch.einsum("nhd,nlhd->nhl", block.queries[:, 0], block.keys) * scale
    attention: Tensor = scores.softmax(2).mean(1)
    return attention[:, 1:]


def last_block(tower: DinoTower, images: Tensor) -> LastBlock:
    """Queries, keys and values of the tower's last block, of images whose sides are multiples of its patch."""
    attention: Any = tower.vit.blocks[-1].attn  # timm is untyped
    kept: list[Tensor] = []
    hook = attention.qkv.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        tower(images)
    finally:
        hook.remove()
    parts = kept[0].float().view(*kept[0].shape[:2], 3, attention.num_heads, -1)  # [N, L, 3, heads, width of a head]
    return LastBlock(*parts.unbind(2))


def _on_grid(tokens: Tensor, sides: Grid, grid: Grid, unit: bool = True) -> Tensor:
    """[N, h*w, C] of one grid -> [N, C, P] of another, means of what falls into a cell; of unit length."""
    cells = F.adaptive_avg_pool2d(patch_map(tokens, sides), grid).flatten(2)
    return F.normalize(cells, dim=1) if unit else cells
