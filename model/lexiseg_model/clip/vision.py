"""Dense features of a stock open_clip vision transformer, at any input size.

Every method of the CLIP family changes the last block only, so an image pass here stops in front of it. Tokens are [N,
1 + h*w, width], the class token first, patches row by row on the *grid* (h, w).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from lexiseg_model.errors import ShapeError, WeightsError

Grid = tuple[int, int]  # (rows, columns) of patches

# How learned positions are brought to another grid, bicubic both times. `size` names the target: TCL. `scale_factor`
# names (h + 0.1) / pretrained rows and samples with that factor: the released code of SCLIP, NACLIP and ProxyCLIP.
# Cosines differ by up to 9e-3, so published figures need their own rule. See docs/methods.md.
PositionRule = Literal["size", "scale_factor"]


class Tokens(NamedTuple):
    """Tokens [N, 1 + h*w, width] and their grid (h, w)."""

    tokens: Tensor
    grid: Grid


def require_plain_vit(visual: torch.nn.Module) -> VisionTransformer:
    """The tower itself, if its last block can be opened: a class token, plain blocks, no attentional pooling.

    Raises:
        WeightsError: another kind of image tower.
    """
    if not isinstance(visual, VisionTransformer):
        raise WeightsError(
            f"dense features need open_clip's VisionTransformer, this model has a {type(visual).__name__}"
        )
    if visual.attn_pool is not None or visual.final_ln_after_pool or visual.pool_type != "tok":
        raise WeightsError("dense features need an image tower that reads its class token, this one pools otherwise")
    if not all(isinstance(block, ResidualAttentionBlock) for block in visual.transformer.resblocks):
        raise WeightsError("dense features need plain attention blocks, this image tower has its own kind")
    return visual


def resize_positions(positions: Tensor, pretrained: Grid, grid: Grid, rule: PositionRule) -> Tensor:
    """Learned positions [1 + rows*columns, width], the class token's first, for another grid: [1 + h*w, width]."""
    if grid == pretrained:
        return positions
    first, patches = positions[:1], positions[1:]
    plane = patches.reshape(1, *pretrained, -1).permute(0, 3, 1, 2).float()  # [1, width, rows, columns]
    if rule == "size":
        plane = F.interpolate(plane, size=grid, mode="bicubic")
    else:
        factors = [(target + 0.1) / learned for target, learned in zip(grid, pretrained, strict=True)]
        plane = F.interpolate(plane, scale_factor=factors, mode="bicubic", recompute_scale_factor=False)
    return torch.cat([first, plane.flatten(2)[0].T.to(first.dtype)])


def embed(visual: VisionTransformer, images: Tensor, rule: PositionRule) -> Tokens:
    """Tokens that enter the first block: class token and patches with positions, after the first layer norm.

    Images [N, 3, H, W] are normalised as the method wants it, their sides divide by the patch size; `rule` says how
    positions are resized where (H, W) is not the pretrained size.
    """
    patch_height, patch_width = visual.patch_size
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"expected images [N, 3, H, W], got {list(images.shape)}")
    height, width = images.shape[2:]
    if height == 0 or width == 0 or height % patch_height or width % patch_width:
        raise ShapeError(
            f"expected sides that divide by the patch {patch_height} x {patch_width}, got {height} x {width}"
        )
    grid = (height // patch_height, width // patch_width)
    patches = visual.conv1(images).flatten(2).transpose(1, 2)  # [N, h*w, width]
    positions = resize_positions(visual.positional_embedding, visual.grid_size, grid, rule).to(patches.dtype)
    # Not len(patches), which tracing would make a constant.
    first = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
    return Tokens(visual.ln_pre(torch.cat([first, patches], 1) + positions), grid)


def tokens_before_last_block(visual: VisionTransformer, images: Tensor, rule: PositionRule) -> Tokens:
    """Tokens that enter the last block; arguments as for `embed`."""
    tokens, grid = embed(visual, images, rule)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    return Tokens(tokens, grid)


def last_block(visual: VisionTransformer) -> ResidualAttentionBlock:
    """The block that the methods replace."""
    return visual.transformer.resblocks[-1]


def heads_of(attention: nn.MultiheadAttention, tokens: Tensor, part: Literal["query", "key", "value"]) -> Tensor:
    """Queries, keys or values [N, heads, L, d] of an attention layer for tokens [N, L, width] after its layer norm."""
    index, width = ("query", "key", "value").index(part), attention.embed_dim
    rows = slice(index * width, (index + 1) * width)
    assert attention.in_proj_weight is not None
    assert attention.in_proj_bias is not None
    projected = F.linear(tokens, attention.in_proj_weight[rows], attention.in_proj_bias[rows])
    count, length, _ = projected.shape
    return projected.view(count, length, attention.num_heads, -1).transpose(1, 2)


def project(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """CLIP's last layers: layer norm, then projection into the text space. [..., width] -> [..., D], not normalised."""
    projected: Tensor = visual.ln_post(tokens) @ visual.proj
    return projected


def image_embedding(visual: VisionTransformer, tokens: Tokens) -> Tensor:
    """CLIP's own image vectors [N, D] from tokens that enter the last block; not normalised."""
    return project(visual, last_block(visual)(tokens.tokens)[:, 0])


def patch_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Map [N, C, h, w] of patch tokens [N, h*w, C], without class token."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *grid)
