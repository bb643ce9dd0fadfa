"""OV-Stitcher (Moon et al., CVPR 2026 Findings, arXiv 2604.08110): windows are joined before their last block.

As its released code (atw617/OV-Stitcher, 91a9489) does it for a picture without region masks. A patch of several
windows has the mean of their tokens; DINO's last block runs over all patches of the picture. A vector is the sum of
three: values of CLIP's last block, averaged by DINO's attention (main); the same of the mean of earlier blocks, run
over the joined windows (spatial); and the class tokens of its windows (semantic).
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model import (
    DinoTower,
    Execution,
    ImageTower,
    Imported,
    Layout,
    ModelCard,
    PatchTextSegmenter,
    PatchTextSettings,
    TextTower,
    clip_from_hub,
    clip_from_state,
    dino_from_hub,
    dino_from_state,
    embed,
    heads_of,
    join_windows,
    open_weights,
    patch_map,
    place_windows,
    prepare_tiles,
    project,
    require_plain_vit,
    settings_of,
    under,
    windows_of,
)

ARCHITECTURE, CLIP, DINO = "ViT-B-16", "clip.", "dino."
CROP, STEP = 336, 112  # side of a window and distance between windows, in pixels
TAU = 4.0  # sharpness of attention
ALPHA, BETA = 1.0, 0.5  # weights of the spatial and the semantic vector
SPATIAL_BLOCKS = 5  # they end before the second-last block


class Settings(PatchTextSettings):
    """`settings` of a card; the tower cuts the windows, so there are none to be set."""

    window: int | None = None
    stride: int | None = None


class StitcherTower(ImageTower):
    """CLIP's image tower beside DINO's; it takes whole pictures and cuts the windows itself."""

    def __init__(self, visual: nn.Module, dino: DinoTower, crop: int = CROP, step: int = STEP) -> None:
        super().__init__()
        self.visual, self.dino, self.crop, self.step = require_plain_vit(visual), dino, crop, step
        self.multiple = math.lcm(self.visual.patch_size[0], dino.kind.patch)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] on DINO's grid, of pictures uint8 [N, 3, s, t]."""
        dtype = self.visual.conv1.weight.dtype
        images, colours = (prepare_tiles(tiles, self.multiple, kind, dtype) for kind in ("clip_rounded", "imagenet"))
        maps = [self._vectors(image, colour) for image, colour in zip(images, colours, strict=True)]
        return (F.normalize(torch.stack(maps).float(), dim=1),)

    def _vectors(self, image: Tensor, colours: Tensor) -> Tensor:
        """Vectors [D, h, w] in the text space of a picture [3, H, W], normalised for CLIP and for DINO."""
        layout = place_windows((image.shape[1], image.shape[2]), self.crop, self.step)
        side, fine = self.visual.patch_size[0], self.dino.kind.patch
        tokens, _ = embed(self.visual, torch.stack([*windows_of(image, layout)]), "scale_factor")
        *blocks, last = self.visual.transformer.resblocks
        spatial = []
        for index, block in enumerate(blocks, start=1 - len(blocks)):
            if -SPATIAL_BLOCKS <= index < 0:
                spatial.append(joined_block(block, tokens[:, 1:], layout, side))
            tokens = block(tokens)
        shares = attention(self.dino, torch.stack([*windows_of(colours, layout)]), layout).to(tokens.dtype)
        main, earlier = joined(last.ln_1(tokens[:, 1:]), layout, side), last.ln_1(torch.stack(spatial).mean(0))
        values = heads_of(last.attn, torch.stack([main, earlier]), "value").transpose(1, 2).flatten(2)
        canvas, cells = ((layout.canvas[0] // unit, layout.canvas[1] // unit) for unit in (side, fine))
        planes = F.interpolate(patch_map(values, canvas), size=cells, mode="bilinear").flatten(2).transpose(1, 2)
        vectors = project(self.visual, last.attn.out_proj(shares @ planes))  # [P, P] x [2, P, width]
        whole = last(tokens)[:, :1].expand(-1, (layout.tile[0] // fine) * (layout.tile[1] // fine), -1)
        semantic = project(self.visual, joined(whole, layout, fine))
        return patch_map((vectors[0] + ALPHA * vectors[1] + BETA * semantic)[None], cells)[0]


def joined(tokens: Tensor, layout: Layout, side: int) -> Tensor:
    """Mean tokens [P, C] of the picture's patches of `side` pixels, of windows' tokens [N, p, C]."""
    grid = (layout.tile[0] // side, layout.tile[1] // side)
    return join_windows(patch_map(tokens, grid), layout, side).flatten(1).T.to(tokens.dtype)


def joined_block(block: Any, tokens: Tensor, layout: Layout, side: int) -> Tensor:
    """A block of CLIP over joined tokens [P, C]; as released, of one head with the scale of a narrow one."""
    whole, normed = (joined(part, layout, side)[None] for part in (tokens, block.ln_1(tokens)))
    queries, keys, values = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    scale = (block.attn.embed_dim // block.attn.num_heads) ** -0.5
    whole = whole + block.attn.out_proj(F.scaled_dot_product_attention(queries, keys, values, scale=scale))
    after: Tensor = whole + block.mlp(block.ln_2(whole))
    return after[0]


def attention(dino: DinoTower, windows: Tensor, layout: Layout) -> Tensor:
    """Attention [P, P] of a picture's patches, by the likeness of DINO's joined tokens; rows sum to 1."""
    block: Any = dino.vit.blocks[-1]
    entering = dino.patches_before_last_block(windows)
    # As released, the residual path takes tokens after DINO's last norm.
    whole, normed = (joined(part, layout, dino.kind.patch) for part in (dino.vit.norm(entering), block.norm1(entering)))
    heads = block.attn.qkv(normed).view(1, len(normed), 3, block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    whole = whole + block.attn.proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)[0])
    units = F.normalize((whole + block.mlp(block.norm2(whole))).float(), dim=1)
    likeness = units @ units.T
    apart = (likeness <= likeness.mean()).fill_diagonal_(False)  # in a picture of one colour nothing exceeds the mean
    return (TAU * likeness).masked_fill(apart, -torch.inf).softmax(1)


def require_weights(card: ModelCard) -> Imported:
    """Get both towers from the hub, for a card that names no weights."""
    towers, dino = clip_from_hub(ARCHITECTURE, "openai", model=card.name), dino_from_hub("dino_vitb8", card.name)
    both = ((CLIP, towers.state), (DINO, dino.vit.state_dict()))
    return Imported(card, {part + name: value for part, state in both for name, value in state.items()})


def load(folder: Path, card: ModelCard, execution: Execution) -> PatchTextSegmenter:
    card, state, digest = open_weights(folder, card, lambda: require_weights(card))
    towers = clip_from_state(ARCHITECTURE, under(CLIP, state), quick_gelu=True)
    tower = StitcherTower(towers.visual, dino_from_state("dino_vitb8", under(DINO, state)))
    settings, texts = settings_of(card, Settings), TextTower(towers, execution.device)
    return PatchTextSegmenter(tower, texts, settings, card, digest, execution)
