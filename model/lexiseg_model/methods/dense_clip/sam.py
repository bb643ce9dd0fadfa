"""SAM (`transformers.SamModel`) with CLIP: what its encoder says of patches, and masks for regions of an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise

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
        """SAM's masks, logits [R, *sizes[1]], and expected IoU [R] of regions of one class.

        Args:
            embedding: SAM's embedding [C, g, g].
            share: probabilities [h, w] of the class.
            least: probability up to which a pixel prompts nothing.
            regions: the regions, in cells of `share`.
            sizes: of the picture, and of it as SAM's encoder got it.
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
    """Size scaled to a longer side of `side`."""
    height, width = (max(1, int(length * side / max(size) + 0.5)) for length in size)
    return height, width


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
