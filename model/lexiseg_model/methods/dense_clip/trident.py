"""Trident (Shi et al., ICCV 2025), as released: ProxyCLIP's tokens, averaged over the picture by SAM's attention.

Two things are not in the paper. DINO's mean similarity is that of all windows. And SAM's attention is that of its last
block, where a head keeps the pairs with values that are more alike than a bound, which is a number of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.transformers_model import (
    build_network,
    plain_config,
    read_pretrained,
    require_transformers,
)
from lexiseg_model.clip import vision, windowed
from lexiseg_model.clip.images import normalise, prepare_tiles
from lexiseg_model.clip.vision import Grid
from lexiseg_model.features import Layout
from lexiseg_model.methods.dense_clip.corrclip import nearest
from lexiseg_model.methods.dense_clip.network import DenseNetwork, mean_similarity, proxy_tokens

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

HIGHEST_BOUND = 0.9  # of the similarity of values
SMALLEST = 225  # pixels of a region, at half the size of the picture
MIN_QUALITY = 0.8  # expected IoU of a mask
NAME, HUB = "SAM", "facebook/sam-vit-base"
FILES = (("config.json",), ("model.safetensors",))
STRENGTH = 0.005  # factor of probabilities as a mask prompt, Trident's
Size = tuple[int, int]  # (height, width)


class SamView(NamedTuple):
    """A picture in the last block of SAM's encoder; P patches, without the padding's."""

    weights: Tensor  # [heads, P, P] attention
    values: Tensor  # [heads, P, d]
    grid: Size
    embedding: Tensor  # [C, g, g] of the encoder, padding included


class Regions(NamedTuple):
    """Regions of one class in a picture, in cells of the map of probabilities."""

    points: Tensor  # [R, 2], (x, y)
    boxes: Tensor  # [R, 4], x0, y0, x1, y1 of the first and the last cell


class Sam(nn.Module):
    """SAM in float32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        vision = self.model.config.vision_config
        self._side, self._patch = vision.image_size, vision.patch_size

    @property
    def config(self) -> dict[str, Any]:
        """Configuration for `sam_from_state`."""
        config: dict[str, Any] = plain_config(self.model.config.to_dict())
        return config

    def forward(self, rgb: NDArray[np.uint8]) -> SamView:
        """Encode a picture uint8 [H, W, 3], its longer side resized to that of SAM's input by Pillow, as SAM does."""
        size = _fitted((rgb.shape[0], rgb.shape[1]), self._side)
        resized = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR))
        device = next(self.model.parameters()).device
        picture = normalise(torch.from_numpy(resized).permute(2, 0, 1)[None].to(device), "imagenet")
        weights, values, embedding = self._last_block(
            F.pad(picture, (0, self._side - size[1], 0, self._side - size[0]))
        )
        rows, columns = grid = max(1, size[0] // self._patch), max(1, size[1] // self._patch)  # whole patches
        heads, cells = len(weights), self._side // self._patch
        # A view first: at 64 x 64 patches a copy is most of a gigabyte.
        square = weights.view(heads, cells, cells, cells, cells)[:, :rows, :columns, :rows, :columns]
        inside = values.view(heads, cells, cells, -1)[:, :rows, :columns]
        patches = rows * columns
        return SamView(square.reshape(heads, patches, patches), inside.reshape(heads, patches, -1), grid, embedding)

    def _last_block(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attention [heads, P, P] and values [heads, P, d] of the last block, and the encoder's output [C, g, g]."""
        from transformers.models.sam.modeling_sam import SamVisionAttention  # optional, and slow to import

        encoder = self.model.vision_encoder
        hidden = encoder.patch_embed(pixels)
        if encoder.pos_embed is not None:
            hidden = hidden + encoder.pos_embed
        *layers, last = encoder.layers
        for layer in layers:
            hidden = layer(hidden)
        normed = last.layer_norm1(hidden)
        # The plain class, because the one in use returns no attention weights.
        _, weights = SamVisionAttention.forward(last.attn, normed)
        values = last.attn.qkv(normed).chunk(3, dim=-1)[2].flatten(0, 2)  # [P, heads * d]
        values = values.view(len(values), len(weights), -1).transpose(0, 1)
        return weights, values, encoder.neck(last(hidden))[0]

    def masks(
        self, embedding: Tensor, share: Tensor, least: float, regions: Regions, sizes: tuple[Size, Size]
    ) -> tuple[Tensor, Tensor]:
        """SAM's masks, logits [R, *sizes[1]], and expected IoU [R] of regions of one class, by its embedding [C, g, g].

        Up to a probability `share` [h, w] of `least` a pixel prompts nothing; `sizes`: the picture's, and the encoder's
        input.
        """
        whole, input_size = sizes
        cells, low = (share.shape[0], share.shape[1]), 4 * embedding.shape[1]
        fitted, low_fitted = _fitted(cells, self._side), _fitted(whole, low)
        hint = windowed.resize(share[None], low_fitted)
        hint = F.pad(hint, (0, low - low_fitted[1], 0, low - low_fitted[0]))
        scale = share.new_tensor([fitted[1] / cells[1], fitted[0] / cells[0]])
        outputs = self.model(
            image_embeddings=embedding[None],
            input_points=(regions.points * scale)[None, :, None],
            input_labels=torch.ones(1, len(regions.points), 1, dtype=torch.int64, device=share.device),
            input_boxes=(regions.boxes * scale.repeat(2))[None],
            input_masks=torch.where(hint > least, STRENGTH * hint, 0)[None],
            multimask_output=False,
        )
        square = windowed.resize(outputs.pred_masks[0, :, 0], (self._side, self._side))
        height, width = _fitted(input_size, self._side)
        return windowed.resize(square[:, :height, :width], input_size), outputs.iou_scores[0, :, 0]


def _fitted(size: Size, side: int) -> Size:
    height, width = (max(1, int(length * side / max(size) + 0.5)) for length in size)
    return height, width


def sam_from_folder(folder: Path) -> Sam:
    """SAM from a folder in the hub's layout."""
    require_transformers(NAME)
    from transformers import SamModel  # optional, and slow to import

    return Sam(read_pretrained(folder, SamModel, NAME))


def sam_from_hub(card_name: str) -> Sam:
    """SAM from the hub."""
    return sam_from_folder(fetch_folder(available()[card_name].model_copy(update={"hub": HUB}), FILES))


def sam_from_state(config: dict[str, Any], state: dict[str, Tensor]) -> Sam:
    """SAM from its configuration and weights."""
    require_transformers(NAME)
    from transformers import SamConfig, SamModel  # optional, and slow to import

    return Sam(build_network(SamModel, SamConfig(**config), state, NAME))


def canvas_sides(size: Size, patch: int, window: int) -> Size:
    """Sides of a canvas in whole patches of CLIP, and of a window at least, unless they are whole patches already."""
    if not any(side % patch for side in size):
        return size
    longest = _up(max(size), patch)
    height, width = (max(window, _up(int(side * longest / max(size)), patch)) for side in size)
    return height, width


def _up(length: int, step: int) -> int:
    return -(-length // step) * step


def window_tokens(tower: DenseNetwork, windows: Sequence[Tensor]) -> Tensor:
    """Tokens [N, width, h, w] on DINO's grid, before CLIP's last layer norm, of windows 0..255 [3, s, t]."""
    assert tower.proxy is not None
    settings = tower.settings
    likeness = [tower.proxy(prepare_tiles(window[None], 1, "imagenet", tower.dtype)) for window in windows]
    mean = torch.stack([mean_similarity(each[0]) for each in likeness]).mean()
    maps = []
    for window, alike in zip(windows, likeness, strict=True):
        image = prepare_tiles(window[None], 1, settings.normalisation, tower.dtype)
        entering = vision.tokens_before_last_block(tower.visual, image, settings.positions)
        tokens = proxy_tokens(tower.visual, entering, alike, settings.beta, settings.gamma, mean)
        maps.append(vision.patch_map(tokens, (alike.shape[2], alike.shape[3])))
    return torch.cat(maps)


def spliced(maps: Tensor, layout: Layout, patch: int) -> Tensor:
    """Mean [width, H, W] of windows' maps [N, width, h, w], on CLIP's grid or a whole multiple of it."""
    rows, columns = (side // patch for side in layout.tile)
    height, width = maps.shape[2:]
    ratio = round(height / rows) if width % columns else width // columns
    cells = (windowed.resize(each, (rows * ratio, columns * ratio)) for each in maps)
    return windowed.join_windows(cells, layout, patch // ratio)


def affinity(weights: Tensor, values: Tensor, factor: float, low_bound: float | None) -> Tensor:
    """Attention [P, P] from that of SAM's heads [heads, P, P] and their values [heads, P, d]; rows sum to 1.

    A head drops pairs not more alike than `factor` times the mean cosine of a row; `low_bound` replaces negative
    bounds.
    """
    with torch.autocast(weights.device.type, enabled=False):  # these numbers are compared with a bound
        units = F.normalize(values.float(), dim=2)
        bound = factor * (units * units.mean(1, keepdim=True)).sum(2).mean(0)  # [P]
        if low_bound is not None:
            bound = bound.masked_fill(bound < 0, low_bound)
        bound = bound.clamp(max=HIGHEST_BOUND)[:, None]
        total = torch.zeros_like(weights[0])
        for each, unit in zip(weights, units, strict=True):  # a head at a time: P is 4096
            scope = unit @ unit.T > bound
            scope.fill_diagonal_(True)  # a vector of zeros is like nothing
            total += each.float() * scope
        return total / total.sum(1, keepdim=True)


def aggregated(plane: Tensor, views: Sequence[SamView], factor: float, low_bound: float | None) -> Tensor:
    """Means [width, h, w] of a map [width, H, W] by SAM's attention; views are of its strips, from the left."""
    cuts = [plane.shape[2] * index // len(views) for index in range(1, len(views))]
    strips = []
    for strip, view in zip(torch.tensor_split(plane, cuts, dim=2), views, strict=True):
        tokens = windowed.resize(strip, view.grid).flatten(1)  # [width, P]
        shares = affinity(view.weights, view.values, factor, low_bound)
        strips.append((tokens @ shares.T).view(-1, *view.grid))
    return torch.cat(strips, 2)


def projected(visual: VisionTransformer, plane: Tensor) -> Tensor:
    """Unit vectors [D, h, w] in the text space of tokens [width, h, w] before CLIP's last layer norm."""
    vectors = vision.project(visual, plane.flatten(1).T.to(visual.proj.dtype))
    return F.normalize(vectors.float(), dim=1).T.reshape(-1, *plane.shape[1:])


class Answer(NamedTuple):
    """Probabilities [K, H, W] and the class [H, W] of each pixel, which need not be the most probable one."""

    shares: Tensor
    winner: Tensor


def prompted(sam: Sam, embedding: Tensor, input_size: Size, answer: Answer, least: float) -> Answer:
    """Refine an answer at the picture's size by SAM's masks of its regions; `input_size` is the encoder's."""
    shares, winner = answer
    size: Grid = (shares.shape[1], shares.shape[2])
    half = windowed.resize(shares, (max(1, size[0] // 2), max(1, size[1] // 2)))
    labels = nearest(winner, (half.shape[1], half.shape[2])).masked_fill(half.amax(0) < least, -1)
    refined, failed = torch.zeros_like(shares), torch.zeros(size, dtype=torch.bool, device=shares.device)
    for index in torch.unique(labels[labels >= 0]).tolist():
        parts = _connected(labels == index, half[index])
        if parts is None or half[index].amax() < least:
            continue
        cells, regions = parts
        masks, quality = sam.masks(embedding, half[index], least, regions, (size, input_size))
        good = quality > MIN_QUALITY
        failed |= nearest(cells[~good].any(0), size) > 0
        if good.any():
            logits = windowed.resize(masks[good], size)
            refined[index] = (logits.sigmoid() * shares[index]).amax(0) * (logits > 0).any(0)
    combined = torch.where(failed, torch.maximum(refined, shares), refined)
    # As released: of regions whose masks failed, pixels under a good mask of another class get that class.
    final = torch.where(refined.sum(0) == 0, winner, refined.argmax(0))
    return Answer(torch.where(combined.sum(0) == 0, shares, combined), final)


def _connected(mask: Tensor, share: Tensor) -> tuple[Tensor, Regions] | None:
    """Connected parts [R, h, w] of a mask that are large enough, and their prompts; None: there are none."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.byte().cpu().numpy(), connectivity=8)
    large = [place for place in range(1, len(stats)) if stats[place, cv2.CC_STAT_AREA] >= SMALLEST]
    if not large:
        return None
    cells = torch.from_numpy(numbers == np.array(large)[:, None, None]).to(share.device)
    left, top, width, height, _ = torch.from_numpy(stats[large]).to(share).unbind(1)
    surest = (cells * share).flatten(1).argmax(1)
    points = torch.stack([surest % share.shape[1], surest // share.shape[1]], 1)
    return cells, Regions(points, torch.stack([left, top, left + width - 1, top + height - 1], 1))
