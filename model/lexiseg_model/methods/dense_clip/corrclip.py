"""CorrCLIP (Zhang et al., ICCV 2025, arXiv 2411.10086): attention limited to the regions of another model.

| branch   | new vector of a patch                                                                               |
|----------|---------------------------------------------------------------------------------------------------|
| main     | values of the last block, averaged by softmax(TAU S) over the patches of its region                 |
| spatial  | the same of the mean tokens of earlier blocks                                                       |
| semantic | the class token of its region, which sees the picture's class token and that region in every block  |

S are cosines of queries plus keys in DINO's last block. Each branch ends in CLIP's layer norm; their weighted sum is
projected. Similar regions of a window are merged. Patches outside all regions share a class token and attend to patches
of more than the mean similarity, which the paper does not state; its authors found it slightly better.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from lexiseg_model.clip import vision, windowed
from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.errors import OptionError, TaskError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip.network import values_on
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.video.sam import Grid, PromptHead, everything

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

TAU = 4.0  # sharpness of attention
ALPHA, BETA = 1.0, 0.5  # weights of the spatial and the semantic branch
APART = 0.2  # cosine distance up to which regions are merged (DBSCAN, each point a core)
SPATIAL_BLOCKS = {12: 5, 24: 12, 32: 28}  # number of blocks by depth; they end before the second-last block
GRID = Grid(side=8, quality=0.4, stability=0.4)  # CorrCLIP's fast setting of SAM 2 and 3


class CorrClipTower(ImageTower):
    """Image tower of CorrCLIP, with patches on DINO's grid."""

    def __init__(self, visual: torch.nn.Module, settings: DenseClipSettings, proxy: DinoTower | None) -> None:
        """Build the tower. Raises WeightsError if CLIP's tower is no plain ViT, or `proxy` is not the first DINO."""
        super().__init__()
        if proxy is None or proxy.kind.positions != "scale_factor":
            raise WeightsError("policy corrclip needs a tower of DINO's make beside CLIP's")
        self.visual: VisionTransformer = vision.require_plain_vit(visual)
        self.proxy = proxy
        self.settings = settings
        self.multiple = math.lcm(self.visual.patch_size[0], proxy.kind.patch)

    def forward(self, tiles: Tensor, regions: Tensor | None = None) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t], one at a time.

        Args:
            tiles: the tiles.
            regions: integers [N, s, t], 0 for no region; None: there are no regions.
        """
        padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), self.multiple)
        dtype = self.visual.conv1.weight.dtype
        images = padding.add(normalise(tiles, self.settings.normalisation)).to(dtype)
        likeness = self.proxy.queries_and_keys(padding.add(normalise(tiles, "imagenet")).to(dtype)).float()
        labels = torch.zeros_like(tiles[:, 0]) if regions is None else regions
        sides = (padding.left, padding.right, padding.top, padding.bottom)
        padded = [F.pad(each.long(), sides, value=int(each.max()) + 1) for each in labels]  # a region of its own
        maps = [
            self._vectors(image[None], F.normalize(alike, dim=0), label)
            for image, alike, label in zip(images, likeness, padded, strict=True)
        ]
        return (F.normalize(torch.cat(maps).float(), dim=1),)

    def _vectors(self, image: Tensor, units: Tensor, regions: Tensor) -> Tensor:
        """Vectors [1, D, h, w] of one image [1, 3, H, W], DINO's unit vectors [C, h, w] and regions [H, W]."""
        fine = (units.shape[1], units.shape[2])
        flat = units.flatten(1).T  # [P, C]
        cells = merged(nearest(regions, fine).flatten(), flat)
        shares = attention(flat, cells)
        tokens, grid = vision.embed(self.visual, image, self.settings.positions)
        names, which = torch.unique(nearest(cells.view(fine), grid).flatten(), return_inverse=True)
        count = len(names)
        tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], 1)
        mask = _mask(which, count).to(tokens.dtype)
        blocks = self.visual.transformer.resblocks
        outputs = []
        for block in blocks:
            tokens = block(tokens, attn_mask=mask)
            outputs.append(tokens)
        first, end = spatial_blocks(len(blocks))
        earlier = torch.stack(outputs[first:end]).mean(0)
        main, spatial = (self._averaged(part[:, count:], grid, shares, fine) for part in (outputs[-2], earlier))
        semantic = self.visual.ln_post(tokens[0, :count])[nearest(which.view(grid), fine).flatten()]
        total: Tensor = (main + ALPHA * spatial + BETA * semantic) @ self.visual.proj
        return vision.patch_map(total, fine)

    def _averaged(self, tokens: Tensor, grid: vision.Grid, shares: Tensor, fine: vision.Grid) -> Tensor:
        """Values of the last block on the fine grid, averaged by `shares` [P, P]: [1, P, width]."""
        values = values_on(self.visual, vision.Tokens(tokens, grid), fine).flatten(2).transpose(1, 2)
        block = vision.last_block(self.visual)
        mixed: Tensor = self.visual.ln_post(block.ls_1(block.attn.out_proj(shares.to(values.dtype) @ values)))
        return mixed


def merged(cells: Tensor, units: Tensor) -> Tensor:
    """Merge regions [P] whose mean unit vectors, of [P, C], are at most `APART` apart, or linked by others."""
    names = torch.unique(cells[cells > 0])
    if len(names) < 2:
        return cells
    member = (cells == names[:, None]).to(units.dtype)  # [R, P]
    means = F.normalize(member @ units, dim=1)
    alike = 1 - means @ means.T <= APART
    group = torch.from_numpy(connected_components(alike.cpu().numpy())[1]).to(cells)
    return torch.where(cells > 0, group[torch.searchsorted(names, cells).clamp(max=len(names) - 1)] + 1, 0)


def attention(units: Tensor, cells: Tensor) -> Tensor:
    """Attention softmax(TAU S) [P, P] within the scope of each patch, for unit vectors [P, C] and regions [P]."""
    with torch.autocast(units.device.type, enabled=False):  # these numbers are compared with a threshold
        similarity = units @ units.T
    nowhere = cells == 0
    scope = torch.where(nowhere | nowhere[:, None], similarity > similarity.mean(), cells == cells[:, None])
    scope.fill_diagonal_(True)  # in a picture of one colour no similarity exceeds the mean
    return (TAU * similarity).masked_fill(~scope, -torch.inf).softmax(1)


def nearest(labels: Tensor, size: vision.Grid) -> Tensor:
    """Labels [H, W] resized to [h, w]: each cell takes the label of its upper left pixel."""
    return F.interpolate(labels[None, None].cpu().double(), size=size, mode="nearest")[0, 0].long().to(labels.device)


def spatial_blocks(depth: int) -> tuple[int, int]:
    """Range (first, end) of the blocks whose outputs the spatial branch averages."""
    end = max(depth - 2, 1)
    return max(0, end - SPATIAL_BLOCKS.get(depth, max(1, depth - 4))), end


def _mask(which: Tensor, count: int) -> Tensor:
    """Additive attention mask [L, L]: class tokens of `count` regions first, then CLIP's tokens, which ignore them."""
    length = count + 1 + len(which)
    visible = torch.zeros(length, length, dtype=torch.bool, device=which.device)
    visible[:, count] = True
    visible[count:, count:] = True
    visible[:count, count + 1 :] = which == torch.arange(count, device=which.device)[:, None]
    return torch.zeros(length, length, device=which.device).masked_fill_(~visible, -torch.inf)


@torch.inference_mode()
def region_map(model: Segmenter, rgb: NDArray[np.uint8]) -> Tensor:
    """Label the pixels of a picture [H, W, 3]: int16 [H, W], 0 for no region. Larger masks cover smaller, as released.

    Raises:
        OptionError: the model has no masks.
    """
    masks = _masks(model, model.encode(rgb))
    labels = torch.zeros(rgb.shape[:2], dtype=torch.int16, device=masks.device)
    order = (masks > 0).sum((1, 2)).argsort(stable=True)
    for number, index in enumerate(order.tolist(), start=1):
        labels[windowed.resize(masks[index, None].float(), (rgb.shape[0], rgb.shape[1]))[0] > 0] = number
    return labels


def _masks(model: Segmenter, features: Features) -> Tensor:
    """Logits [N, h, w] of all masks that the model proposes."""
    head = getattr(model, "sam_head", None)
    if isinstance(head, PromptHead):
        return everything(head, features, GRID).masks
    try:
        return model.propose(features).masks
    except TaskError:
        raise OptionError(f"{model.card.name} proposes no masks; expected a model that does") from None
