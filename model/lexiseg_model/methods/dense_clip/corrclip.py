"""CorrCLIP (Zhang et al., ICCV 2025, arXiv 2411.10086): attention limited to the regions of another model.

| branch   | new vector of a patch                                                                               |
|----------|---------------------------------------------------------------------------------------------------|
| main     | values of the last block, averaged by softmax(TAU S) over the patches of its region                 |
| spatial  | the same of the mean tokens of earlier blocks                                                       |
| semantic | the class token of its region, which sees the picture's class token and that region in every block  |

S are cosines of queries plus keys in DINO's last block. As released, patches outside all regions share a class token
and attend to patches of more than the mean similarity, and the lowest label of a window counts as "outside all
regions".
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

from lexiseg_model.abilities import Proposing
from lexiseg_model.clip import vision, windowed
from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.images import Padding, prepare_tiles
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip.network import values_on
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.sam2.head import PromptHead
from lexiseg_model.segmenter import Segmenter

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

TAU = 4.0  # sharpness of attention
ALPHA, BETA = 1.0, 0.5  # weights of the spatial and the semantic branch
APART = 0.2  # cosine distance up to which regions are merged (DBSCAN, each point a core)
SPATIAL_BLOCKS = {12: 5, 24: 12, 32: 28}  # number of blocks by depth; they end before the second-last block
# Of SAM 2's masks, as the authors set its generator: one mask for each of 8 x 8 points.
POINTS = 8
QUALITY = 0.4  # expected IoU that a mask must exceed
STABILITY = 0.4  # least area of logits above 1, as a share of that above -1
OVERLAP = 0.7  # IoU of boxes above which the worse mask goes


def merged(cells: Tensor, units: Tensor) -> Tensor:
    """Merge regions [P] of mean unit vectors, of [P, C], at most `APART` apart; the lowest label is no region: 0."""
    names: Tensor
    which: Tensor
    names, which = torch.unique(cells, return_inverse=True)
    if len(names) < 3:
        return which
    member = (which == torch.arange(1, len(names), device=cells.device)[:, None]).to(units.dtype)  # [R, P]
    means = F.normalize(member @ units, dim=1)
    alike = 1 - means @ means.T <= APART
    group = torch.from_numpy(connected_components(alike.cpu().numpy())[1]).to(cells)
    return torch.where(which > 0, group[(which - 1).clamp_min(0)] + 1, 0)


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
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]; `regions` are integers [N, s, t], 0 for no region."""
        padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), self.multiple)
        sides = (padding.left, padding.right, padding.top, padding.bottom)
        dtype = self.visual.conv1.weight.dtype
        images = prepare_tiles(tiles, self.multiple, self.settings.normalisation, dtype)
        likeness = self.proxy.queries_and_keys(prepare_tiles(tiles, self.multiple, "imagenet", dtype)).float()
        labels = torch.zeros_like(tiles[:, 0]) if regions is None else regions
        maps = []
        for image, alike, label in zip(images, F.normalize(likeness, dim=1), labels, strict=True):
            # The padding is a region of its own.
            padded = F.pad(label.long(), sides, value=int(label.max()) + 1)
            cells = nearest(padded, (alike.shape[1], alike.shape[2]))
            grouped = merged(cells.flatten(), alike.flatten(1).T)
            maps.append(region_vectors(self.visual, self.settings.positions, image, alike, grouped))
        return (F.normalize(torch.cat(maps).float(), dim=1),)


def region_vectors(
    visual: VisionTransformer, positions: vision.PositionRule, image: Tensor, units: Tensor, cells: Tensor
) -> Tensor:
    """Vectors [1, D, h, w] in the text space of an image [3, H, W] of whole patches of CLIP.

    `units` are unit vectors [C, h, w] of another tower, `cells` regions [h * w] on their grid, 0 for no region.
    """
    fine = (units.shape[1], units.shape[2])
    shares = attention(units.flatten(1).T, cells)
    tokens, grid = vision.embed(visual, image[None], positions)
    names, which = torch.unique(nearest(cells.view(fine), grid).flatten(), return_inverse=True)
    count = len(names)
    tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], 1)
    mask = _mask(which, count).to(tokens.dtype)
    blocks = visual.transformer.resblocks
    outputs = []
    for block in blocks:
        tokens = block(tokens, attn_mask=mask)
        outputs.append(tokens)
    end = max(len(blocks) - 2, 1)
    first = max(0, end - SPATIAL_BLOCKS.get(len(blocks), max(1, len(blocks) - 4)))
    earlier = torch.stack(outputs[first:end]).mean(0)
    main, spatial = (_averaged(visual, part[:, count:], grid, shares, fine) for part in (outputs[-2], earlier))
    semantic = visual.ln_post(tokens[0, :count])[nearest(which.view(grid), fine).flatten()]
    total: Tensor = (main + ALPHA * spatial + BETA * semantic) @ visual.proj
    return vision.patch_map(total, fine)


def _averaged(
    visual: VisionTransformer, tokens: Tensor, grid: vision.Grid, shares: Tensor, fine: vision.Grid
) -> Tensor:
    """Values of the last block on the fine grid, averaged by `shares` [P, P]: [1, P, width]."""
    values = values_on(visual, vision.Tokens(tokens, grid), fine).flatten(2).transpose(1, 2)
    block = vision.last_block(visual)
    mixed: Tensor = visual.ln_post(block.ls_1(block.attn.out_proj(shares.to(values.dtype) @ values)))
    return mixed


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
    """Label the pixels of a picture [H, W, 3]: int16 [H, W], 0 for no region. Larger masks cover smaller."""
    size = (rgb.shape[0], rgb.shape[1])
    masks = _masks(model, model.encode(rgb))
    labels = torch.zeros(size, dtype=torch.int16, device=masks.device)
    areas = [int((_at_size(mask, size) > 0).sum()) for mask in masks]
    for number, index in enumerate(sorted(range(len(masks)), key=areas.__getitem__), start=1):
        labels[_at_size(masks[index], size) > 0] = number
    return labels


def _at_size(mask: Tensor, size: vision.Grid) -> Tensor:
    return windowed.resize(mask[None].float(), size)[0]


def _masks(model: Segmenter, features: Features) -> Tensor:
    """Logits [N, h, w] of all masks that the model proposes."""
    head = getattr(model, "sam_head", None)
    if isinstance(head, PromptHead):
        return _single_masks(head, features)
    if not isinstance(model, Proposing):
        raise OptionError(f"{model.card.name} proposes no masks; expected a model that does")
    return model.propose(features).masks


def _single_masks(head: PromptHead, features: Features) -> Tensor:
    """Logits [N, h, w] of one mask for each point of a grid, judged at the picture's size as SAM 2's generator does."""
    # SAM 2's own choice between one mask and several is off in the released code.
    head.model.mask_decoder.dynamic_multimask_via_stability = False
    ((masks, quality),) = head.grid_masks(features, POINTS, POINTS**2, multimask=False)
    good: list[tuple[int, Tensor]] = []
    for index in quality.argsort(descending=True, stable=True).tolist():
        logits = _at_size(masks[index], features.size)
        area = (logits > -1).sum()
        if quality[index] <= QUALITY or area == 0 or (logits > 1).sum() < STABILITY * area:
            continue
        box = _box(logits > 0)
        if all(_overlap(box, other) <= OVERLAP for _, other in good):
            good.append((index, box))
    return masks[[index for index, _ in good]]


def _box(mask: Tensor) -> Tensor:
    """First and last column and row of a mask [H, W]: float32 [x0, y0, x1, y1], zeros for an empty one."""
    if not mask.any():
        return torch.zeros(4, device=mask.device)
    columns, rows = (mask.any(axis).nonzero()[:, 0] for axis in (0, 1))
    return torch.stack([columns[0], rows[0], columns[-1], rows[-1]]).float()


def _overlap(box: Tensor, other: Tensor) -> float:
    """Intersection over union of two boxes, 0 where both are empty."""
    sides = (torch.minimum(box[2:], other[2:]) - torch.maximum(box[:2], other[:2])).clamp_min(0)
    both, one, two = sides.prod(), (box[2:] - box[:2]).prod(), (other[2:] - other[:2]).prod()
    union = one + two - both
    return float(both / union) if union > 0 else 0.0
