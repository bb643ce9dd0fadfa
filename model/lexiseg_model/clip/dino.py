"""DINO and DINOv2 towers by timm, for ProxyCLIP and S-Seg; weights from timm's hub or a file of timm's or the
authors'."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from lexiseg_model.catalogue.hub import fetch
from lexiseg_model.catalogue.weights import SkipInit, for_inference, listed, naming_files
from lexiseg_model.clip.checkpoint import State, read_tensors
from lexiseg_model.clip.vision import patch_map, resize_positions
from lexiseg_model.errors import ShapeError, WeightsError
from lexiseg_model.types import DinoName

BLOCK = re.compile(r"blocks\.(\d+)\.")
FILES = ("model.safetensors", "pytorch_model.bin")  # as timm's hub has them
PLAIN = "vit_small_patch8_224.dino"  # a plain vision transformer with a class token, DINO's own
HEAD_WIDTH = 64  # of every tower of DINO's


@dataclass(frozen=True)
class DinoKind:
    """A tower by timm's name. DINO's code resizes positions by `scale_factor`, DINOv2's with registers as timm does."""

    timm_name: str
    patch: int
    positions: Literal["scale_factor", "timm"]
    options: Mapping[str, Any] = field(default_factory=dict)  # of timm, where its name stands for other sizes


# All names but `dino`, which is any tower of DINO's make: `kind_of` reads its sizes off its weights.
KINDS: dict[DinoName, DinoKind] = {
    "dino_vitb16": DinoKind("vit_base_patch16_224.dino", 16, "scale_factor"),
    "dino_vitb8": DinoKind("vit_base_patch8_224.dino", 8, "scale_factor"),
    "dino_vits8": DinoKind("vit_small_patch8_224.dino", 8, "scale_factor"),
    "dinov2_vitl14_reg": DinoKind("vit_large_patch14_reg4_dinov2.lvd142m", 14, "timm"),
    "dinov2_vitb14_reg": DinoKind("vit_base_patch14_reg4_dinov2.lvd142m", 14, "timm"),
    "dinov2_vits14_reg": DinoKind("vit_small_patch14_reg4_dinov2.lvd142m", 14, "timm"),
}


class DinoTower(nn.Module):
    """Patch tokens of the last layer, after its norm.

    Input: [N, 3, H, W] by ImageNet's statistics, sides multiples of the patch. Output: [N, C, H/patch, W/patch].
    """

    def __init__(self, kind: DinoKind) -> None:
        super().__init__()
        self.kind = kind
        vit = timm.create_model(kind.timm_name, num_classes=0, dynamic_img_size=True, **kind.options)
        assert isinstance(vit, VisionTransformer)
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        """Maps [N, C, H/patch, W/patch] of images [N, 3, H, W].

        Raises:
            ShapeError: a side is not a multiple of the patch.
        """
        return patch_map(self.tokens(images)[:, self.vit.num_prefix_tokens :], self._grid(images))

    def tokens(self, images: Tensor) -> Tensor:
        """Tokens [N, 1 + registers + patches, C] of images [N, 3, H, W], class token first; raises as `forward`."""
        grid = self._grid(images)
        if self.kind.positions == "timm":
            tokens: Tensor = self.vit.forward_features(images)
        else:
            tokens = self.vit.norm(self.vit.blocks(self._embed(images, grid)))
        return tokens

    def queries_and_keys(self, images: Tensor) -> Tensor:
        """Sum [N, C, H/patch, W/patch] of queries and keys in the last block; raises as `forward`."""
        queries, keys, _ = self._last_block(images)
        return queries + keys

    def values(self, images: Tensor) -> Tensor:
        """Values [N, C, H/patch, W/patch] of the last block, which LPOSS compares; raises as `forward`."""
        return self._last_block(images)[2]

    def patches_before_last_block(self, images: Tensor) -> Tensor:
        """Tokens [N, patches, C] that enter the last block, without those before the patches; raises as `forward`."""
        grid, blocks = self._grid(images), self.vit.blocks[:-1]
        assert isinstance(blocks, nn.Sequential)
        if self.kind.positions == "timm":
            intermediates: Any = self.vit.forward_intermediates(
                images, [len(blocks) - 1], norm=False, output_fmt="NLC", intermediates_only=True
            )
            patches: Tensor = intermediates[0]
        else:
            patches = blocks(self._embed(images, grid))[:, 1:]
        return patches

    def _last_block(self, images: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [N, C, h, w] of the patches."""
        grid, last = self._grid(images), self.vit.blocks[-1]
        norm, qkv = (last.get_submodule(name) for name in ("norm1", "attn.qkv"))
        parts = qkv(norm(self.patches_before_last_block(images))).chunk(3, dim=-1)
        return tuple(patch_map(part, grid) for part in parts)

    def _grid(self, images: Tensor) -> tuple[int, int]:
        patch = self.kind.patch
        height, width = images.shape[2:]
        if height % patch or width % patch:
            raise ShapeError(f"expected sides divisible by {patch}, got {height} x {width}")
        return height // patch, width // patch

    def _embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens [N, 1 + h*w, C] that enter the first block, with positions resized as DINO's code does."""
        assert self.vit.pos_embed is not None
        assert self.vit.cls_token is not None
        patches = self.vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
        learned = self.vit.patch_embed.grid_size
        positions = resize_positions(self.vit.pos_embed[0], learned, grid, "scale_factor").to(patches.dtype)
        first = self.vit.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        return torch.cat([first, patches], 1) + positions


def kind_of(state: State) -> DinoKind:
    """Sizes of a plain tower of DINO's make, heads of 64 numbers."""
    try:
        width, _, patch, _ = state["patch_embed.proj.weight"].shape
        cells = state["pos_embed"].shape[1] - 1
    except (KeyError, ValueError) as error:
        reason = f"no {error.args[0]}; got {listed(sorted(state))}" if isinstance(error, KeyError) else error
        raise WeightsError(f"not the weights of a tower of DINO's make: {reason}") from None
    side = math.isqrt(cells)
    if side * side != cells or width % HEAD_WIDTH:
        raise WeightsError(
            f"not a tower of DINO's make: positions of {cells} cells and a width of {width}; expected a square and a "
            f"multiple of {HEAD_WIDTH}"
        )
    depth = 1 + max((int(match[1]) for match in map(BLOCK.match, state) if match), default=-1)
    return plain_kind(patch=patch, side=side * patch, width=width, depth=depth)


def plain_kind(*, patch: int, side: int, width: int, depth: int) -> DinoKind:
    """A tower of DINO's make: `side` pixels of the images that its positions are learned on, `width` of a token."""
    sizes = {"patch_size": patch, "img_size": side, "embed_dim": width, "depth": depth}
    return DinoKind(PLAIN, patch, "scale_factor", {**sizes, "num_heads": width // HEAD_WIDTH})


def dino_from_state(name: DinoName, state: State) -> DinoTower:
    """A tower from weights in timm's names or the authors'.

    Raises:
        WeightsError: the weights are not of this tower.
    """
    kind = kind_of(state) if name == "dino" else KINDS[name]
    with SkipInit():
        tower = DinoTower(kind)
    try:
        converted = checkpoint_filter_fn(dict(state), tower.vit)
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"not the weights of {name}: {str(error).splitlines()[-1].strip()}") from None
    for_inference(tower.vit, name, converted)
    return tower.eval().requires_grad_(False)


def dino_from_file(name: DinoName, path: Path) -> DinoTower:
    """A tower from a file.

    Raises:
        WeightsError: the file is missing, unreadable, or of another tower.
    """
    state = read_tensors(path)
    with naming_files(path):
        return dino_from_state(name, state)


def dino_from_hub(name: DinoName, model: str | None = None) -> DinoTower:
    """A tower from timm's hub; `model` as in `hub.fetch`.

    Raises:
        WeightsError: the weights cannot be had; says the two ways to provide them.
    """
    if name == "dino":
        raise WeightsError("a tower of DINO's make is on no hub; expected a file of its weights")
    timm_name = KINDS[name].timm_name
    config = timm.get_pretrained_cfg(timm_name)
    assert config is not None
    what = f"weights of {name} (timm's {timm_name})"
    return dino_from_file(name, fetch(str(config.hf_hub_id), FILES, what, model))
