"""Trident (Shi et al., ICCV 2025, arXiv 2411.09219): ProxyCLIP's vectors, aggregated over the picture by SAM.

ProxyCLIP's vectors of all windows are spliced into one map, which A averages: A = (W + M) / |W + M|. W is the attention
of the last block of SAM's encoder, and M masks out pairs of less than a factor times the mean similarity.

Choices that the paper leaves open: W is the mean of the heads, similarity the cosine of the encoder's outputs, |.| the
sum of a row; unit vectors are spliced, and resized to SAM's grid before A.

`prompted` is the refinement: each connected region of the result prompts SAM with its most probable pixel, its box and
its class's probabilities. Masks with a high expected IoU replace the regions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.transformers_model import (
    build_network,
    plain_config,
    read_pretrained,
    require_transformers,
)
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise

NAME, HUB = "SAM", "facebook/sam-vit-base"
FILES = (("config.json",), ("model.safetensors",))

# Values of the refinement, as the authors have them.
SMALLEST = 225  # pixels of a region, at half the size of the picture
MIN_QUALITY = 0.8  # expected IoU of a mask
STRENGTH = 0.005  # factor of probabilities as a mask prompt


class Sam(nn.Module):
    """SAM (`transformers.SamModel`) in float32."""

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

    def _fitted(self, size: tuple[int, int], side: int) -> tuple[int, int]:
        """Size (height, width) scaled to a longer side of `side`."""
        height, width = (max(1, int(length * side / max(size) + 0.5)) for length in size)
        return height, width

    def forward(self, picture: Tensor, factor: float) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Matrix A [P, P], grid (h, w) of the patches, and SAM's embedding [C, g, g] of a picture uint8 [3, H, W]."""
        size = self._fitted((picture.shape[1], picture.shape[2]), self._side)
        resized = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True)
        pixels = F.pad(normalise(resized, "imagenet"), (0, self._side - size[1], 0, self._side - size[0]))
        rows, columns = (max(1, length // self._patch) for length in size)
        weights, embedding = self._last_block(pixels)
        cells = self._side // self._patch
        inside = torch.arange(cells * cells, device=weights.device).view(cells, cells)[:rows, :columns].flatten()
        shares = affinity(weights.mean(0)[inside][:, inside], embedding.flatten(1).T[inside], factor)
        return shares, (rows, columns), embedding

    def _last_block(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Attention weights [heads, P, P] of the last block, and the encoder's output [C, g, g]."""
        from transformers.models.sam.modeling_sam import SamVisionAttention  # optional, and slow to import

        encoder = self.model.vision_encoder
        hidden = encoder.patch_embed(pixels)
        if encoder.pos_embed is not None:
            hidden = hidden + encoder.pos_embed
        *layers, last = encoder.layers
        for layer in layers:
            hidden = layer(hidden)
        # The plain class, because the one in use returns no attention weights.
        _, weights = SamVisionAttention.forward(last.attn, last.layer_norm1(hidden))
        return weights, encoder.neck(last(hidden))[0]

    def masks(
        self, embedding: Tensor, share: Tensor, min_probability: float, points: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks of SAM for regions of one class.

        Args:
            embedding: SAM's embedding [C, g, g].
            share: probabilities [h, w] of the class.
            min_probability: probability below which a pixel prompts nothing.
            points: [R, 2], (x, y) in cells of the map.
            boxes: [R, 4], x0, y0, x1, y1 of the first and the last cell.

        Returns:
            Logits [R, h', w'] over the picture, and the expected IoU [R].
        """
        size = (share.shape[0], share.shape[1])
        inside, low = self._fitted(size, self._side), 4 * embedding.shape[1]
        fitted = self._fitted(size, low)
        hint = windowed.resize(share[None], fitted)
        hint = F.pad(torch.where(hint > min_probability, STRENGTH * hint, 0), (0, low - fitted[1], 0, low - fitted[0]))
        scale = share.new_tensor([inside[1] / size[1], inside[0] / size[0]])
        outputs = self.model(
            image_embeddings=embedding[None],
            input_points=(points * scale)[None, :, None],
            input_labels=torch.ones(1, len(points), 1, dtype=torch.int64, device=share.device),
            input_boxes=(boxes * scale.repeat(2))[None],
            input_masks=hint[None],
            multimask_output=False,
        )
        whole = windowed.resize(outputs.pred_masks[0, :, 0], (self._side, self._side))
        return whole[:, : inside[0], : inside[1]], outputs.iou_scores[0, :, 0]


def prompted(sam: Sam, embedding: Tensor, shares: Tensor, min_probability: float) -> Tensor:
    """Class probabilities [K, H, W], refined by SAM's masks of their regions; they need not sum to 1."""
    size = (shares.shape[1], shares.shape[2])
    half = windowed.resize(shares, (max(1, size[0] // 2), max(1, size[1] // 2)))
    winner = F.interpolate(shares.argmax(0)[None, None].float(), half.shape[1:], mode="nearest")[0, 0].long()
    labels = winner.masked_fill(half.amax(0) < min_probability, -1).cpu().numpy()
    refined, failed = torch.zeros_like(shares), torch.zeros(size, dtype=torch.bool, device=shares.device)
    for index in np.unique(labels[labels >= 0]).tolist():
        _, numbers, stats, _ = cv2.connectedComponentsWithStats((labels == index).astype(np.uint8), connectivity=8)
        large = [place for place in range(1, len(stats)) if stats[place, cv2.CC_STAT_AREA] >= SMALLEST]
        if not large:
            continue
        regions = torch.from_numpy(numbers == np.array(large)[:, None, None]).to(shares.device)
        left, top, width, height, _ = torch.from_numpy(stats[large]).to(shares).unbind(1)
        surest = (regions * half[index]).flatten(1).argmax(1)
        points = torch.stack([surest % half.shape[2], surest // half.shape[2]], 1)
        boxes = torch.stack([left, top, left + width - 1, top + height - 1], 1)
        masks, quality = sam.masks(embedding, half[index], min_probability, points, boxes)
        good = quality > MIN_QUALITY
        missed = regions[~good].any(0)[None, None].float()
        failed |= F.interpolate(missed, size, mode="nearest")[0, 0] > 0
        if good.any():
            good_masks = windowed.resize(masks[good], size)
            refined[index] = (good_masks.sigmoid() * shares[index]).amax(0) * (good_masks > 0).any(0)
    combined = torch.where(failed, torch.maximum(refined, shares), refined)
    return torch.where(combined.sum(0) == 0, shares, combined)


def affinity(weights: Tensor, features: Tensor, factor: float) -> Tensor:
    """Matrix A [P, P] of attention [P, P] and features [P, C]."""
    units = F.normalize(features, dim=1)
    alike = units @ units.T
    scope = alike >= factor * alike.mean()
    scope.fill_diagonal_(True)  # in a picture of one colour no similarity exceeds the mean
    scoped = weights * scope
    return scoped / scoped.sum(1, keepdim=True)


def aggregated(shares: Tensor, maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Unit vectors [D, *grid]: means of vectors [D, H, W], resized to the grid, weighted by `shares` [P, P]."""
    tokens = windowed.resize(maps, grid).flatten(1).T
    return F.normalize(shares @ tokens, dim=1).T.reshape(-1, *grid)


def sam_from_folder(folder: Path) -> Sam:
    """SAM from a folder in the hub's layout. Raises WeightsError if there is none."""
    require_transformers(NAME)
    from transformers import SamModel  # optional, and slow to import

    return Sam(read_pretrained(folder, SamModel, NAME))


def sam_from_hub(card_name: str) -> Sam:
    """SAM from the hub. Raises WeightsError if it cannot be fetched."""
    return sam_from_folder(fetch_folder(available()[card_name].model_copy(update={"hub": HUB}), FILES))


def sam_from_state(config: dict[str, Any], state: dict[str, Tensor]) -> Sam:
    """SAM from its configuration and weights. Raises WeightsError if the weights are of another network."""
    require_transformers(NAME)
    from transformers import SamConfig, SamModel  # optional, and slow to import

    return Sam(build_network(SamModel, SamConfig(**config), state, NAME))
