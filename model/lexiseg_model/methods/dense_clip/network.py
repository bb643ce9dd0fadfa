"""Image pass of the dense CLIP methods: tiles to unit vectors in the text space.

All methods share the pass up to CLIP's last block; a policy replaces its attention:

| policy    | attention                         | residual, feed-forward | source                     |
|-----------|-----------------------------------|------------------------|----------------------------|
| maskclip  | none: values only                 | dropped                | Zhou et al., ECCV 2022     |
| sclip     | softmax(q q' s) + softmax(k k' s) | kept                   | Wang et al., ECCV 2024     |
| naclip    | softmax(k k' s + G), a Gaussian G | dropped                | Hajimiri et al., WACV 2025 |

s is the inverse root of a head's width; the two terms of sclip are summed, not averaged. The class token takes part in
attention and is dropped at the end. ProxyCLIP (Lan et al., ECCV 2024) averages CLIP's values over patches that are
similar for DINO, on DINO's grid, which with 8-pixel patches is finer than CLIP's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip import vision
from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.images import prepare_tiles
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.clip.vision import Grid, Tokens, heads_of, last_block, patch_map, project
from lexiseg_model.errors import ShapeError, WeightsError
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer


def neighbourhood(grid: Grid, std: float, device: torch.device) -> Tensor:
    """Gaussian exp(-distance^2 / (2 std^2)) of patches (NACLIP, eq. 5): float32 [1 + h*w, 1 + h*w], class token 0."""
    rows, columns = (
        torch.exp(-((steps[:, None] - steps[None, :]) ** 2) / (2 * std**2))
        for steps in (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
    )
    both = rows[:, None, :, None] * columns[None, :, None, :]  # [h, w, h, w]
    patches = grid[0] * grid[1]
    return F.pad(both.reshape(patches, patches), (1, 0, 1, 0))


def dense_map(visual: VisionTransformer, entering: Tokens, policy: str, std: float) -> Tensor:
    """Vectors [N, D, h, w] of patches in the text space, not of unit length, from the tokens before the last block.

    `policy` is maskclip, sclip or naclip, `std` the deviation of NACLIP's Gaussian, in patches.
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


def proxy_map(visual: VisionTransformer, entering: Tokens, proxy: Tensor, beta: float, gamma: float) -> Tensor:
    """Vectors in the text space on the proxy's grid, not of unit length: [N, D, rows, columns]; as `proxy_tokens`."""
    tokens = proxy_tokens(visual, entering, proxy, beta, gamma)
    return patch_map(project(visual, tokens), (proxy.shape[2], proxy.shape[3]))


def proxy_tokens(
    visual: VisionTransformer, entering: Tokens, proxy: Tensor, beta: float, gamma: float, mean: Tensor | None = None
) -> Tensor:
    """Tokens [N, rows * columns, width] on the proxy's grid, before CLIP's last layer norm, of maps [N, C, h, w].

    The released code swaps rows and columns of the values, which is the same for square windows and wrong for others.
    """
    if proxy.ndim != 4 or len(proxy) != len(entering.tokens):
        raise ShapeError(f"expected proxy maps [{len(entering.tokens)}, C, h, w], got {list(proxy.shape)}")
    block = last_block(visual)
    plane = values_on(visual, entering, (proxy.shape[2], proxy.shape[3]))
    # Without residual, feed-forward layer and class token. One image at a time: without `mean` it is that of the image.
    mixed = torch.stack(
        [
            proxy_attention(likeness, beta, gamma, mean).to(value.dtype) @ value.flatten(1).T  # [P, P] x [P, width]
            for likeness, value in zip(proxy, plane, strict=True)
        ]
    )
    tokens: Tensor = block.ls_1(block.attn.out_proj(mixed))
    return tokens


def values_on(visual: VisionTransformer, entering: Tokens, grid: Grid) -> Tensor:
    """Values of the last block's patches on another grid (h, w), bilinear: [N, width, h, w]."""
    block = last_block(visual)
    values = heads_of(block.attn, block.ln_1(entering.tokens[:, 1:]), "value")
    return F.interpolate(patch_map(values.transpose(1, 2).flatten(2), entering.grid), size=grid, mode="bilinear")


def mean_similarity(proxy: Tensor) -> Tensor:
    """Mean cosine similarity [] of all pairs of patches of a map [C, h, w]."""
    return F.normalize(proxy.float().flatten(1), dim=0).mean(1).square().sum()


def proxy_attention(proxy: Tensor, beta: float, gamma: float, mean: Tensor | None = None) -> Tensor:
    """Attention [h*w, h*w] float32 of one image's patches, the same for all heads (ProxyCLIP, eq. 6); rows sum to 1.

    softmax(gamma (S - beta mean(S))) where not negative; S are cosines of the other tower's map [C, h, w].
    """
    units = F.normalize(proxy.float().flatten(1), dim=0)
    with torch.autocast(proxy.device.type, enabled=False):  # these numbers are compared with a threshold
        similarity = units.T @ units
        logits = gamma * (similarity - beta * (similarity.mean() if mean is None else mean))
        logits = logits.masked_fill(logits < 0, float("-inf"))
    # In a picture of one colour even the diagonal is negative, and empty rows would give NaN; patches then keep their
    # own values. Otherwise the diagonal is positive.
    logits.diagonal().clamp_(min=0)
    return logits.softmax(1)


class DenseNetwork(ImageTower):
    """Image tower of the policies; tiles are padded with the mean colour to whole patches of every tower."""

    def __init__(self, visual: VisionTransformer, settings: DenseClipSettings, proxy: DinoTower | None = None) -> None:
        super().__init__()
        self.visual = vision.require_plain_vit(visual)
        self.proxy = proxy
        self.settings = settings
        if settings.has_proxy != (proxy is not None):
            expected = "a proxy tower, got none" if settings.has_proxy else "no proxy tower, got one"
            raise WeightsError(f"policy {settings.policy}: expected {expected}")
        patch = visual.patch_size[0]
        # Both grids must be whole: a common multiple of 16 and 14 pixels is 112.
        self.multiple = patch if proxy is None else math.lcm(patch, proxy.kind.patch)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        dtype: torch.dtype = self.visual.conv1.weight.dtype
        return dtype

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]."""
        images = prepare_tiles(tiles, self.multiple, self.settings.normalisation, self.dtype)
        entering = vision.tokens_before_last_block(self.visual, images, self.settings.positions)
        if self.proxy is not None:
            likeness = self.proxy(prepare_tiles(tiles, self.multiple, "imagenet", self.dtype))
            maps = proxy_map(self.visual, entering, likeness, self.settings.beta, self.settings.gamma)
        else:
            maps = dense_map(self.visual, entering, self.settings.policy, self.settings.gaussian_std)
        return (F.normalize(maps.float(), dim=1),)
