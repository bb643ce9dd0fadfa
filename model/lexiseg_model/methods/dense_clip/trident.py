"""Trident (Shi et al., ICCV 2025, arXiv 2411.09219): SAM says which patches of a whole picture belong together.

ProxyCLIP's vectors of each window are spliced into one map, which A averages: A = (W + M) / |W + M|. W is the attention
of the last block of SAM's encoder, and M takes away what is less alike than FACTOR times the mean.

What the notes on the paper leave open is read so: W is the mean of the heads, likeness the cosine of the encoder's
outputs, |.| the sum of a row; unit vectors are spliced, and brought to SAM's grid before A. The refinement by prompts
of SAM is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.transformers_model import filled, plain_config, read_pretrained, require_transformers
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise

NAME, HUB = "SAM", "facebook/sam-vit-base"
FILES = (("config.json",), ("model.safetensors",))
FACTOR = 1.2  # of the mean cosine, below which patches ignore each other


class SamCorrelation(nn.Module):
    """SAM's image encoder, `transformers.SamVisionModel`, float32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    @property
    def config(self) -> dict[str, Any]:
        """What `from_state` needs beside the weights."""
        config: dict[str, Any] = plain_config(self.model.config.to_dict())
        return config

    def forward(self, picture: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """A [P, P] of a picture uint8 [3, H, W], and the grid (h, w) of its patches."""
        side, patch = self.model.config.image_size, self.model.config.patch_size
        scale = side / max(picture.shape[1:])
        size = [max(patch, int(length * scale + 0.5)) for length in picture.shape[1:]]
        resized = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True)
        pixels = F.pad(normalise(resized, "imagenet"), (0, side - size[1], 0, side - size[0]))
        rows, columns = (length // patch for length in size)
        weights, features = self._last_block(pixels)
        cells = side // patch
        seen = torch.arange(cells * cells, device=weights.device).view(cells, cells)[:rows, :columns].flatten()
        return affinity(weights.mean(0)[seen][:, seen], features[seen]), (rows, columns)

    def _last_block(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Attention weights [heads, P, P] of the last block, and outputs [P, C] of the encoder."""
        from transformers.models.sam.modeling_sam import SamVisionAttention  # optional, and slow to import

        encoder = self.model.vision_encoder
        hidden = encoder.patch_embed(pixels)
        if encoder.pos_embed is not None:
            hidden = hidden + encoder.pos_embed
        *layers, last = encoder.layers
        for layer in layers:
            hidden = layer(hidden)
        # As the plain class computes it: the one in use gives no weights.
        _, weights = SamVisionAttention.forward(last.attn, last.layer_norm1(hidden))
        return weights, encoder.neck(last(hidden))[0].flatten(1).T


def affinity(weights: Tensor, features: Tensor) -> Tensor:
    """A [P, P] of attention [P, P] and features [P, C]."""
    units = F.normalize(features, dim=1)
    alike = units @ units.T
    scope = alike >= FACTOR * alike.mean()
    scope.fill_diagonal_(True)  # on a picture of one colour nothing is more alike than the mean
    kept = weights * scope
    return kept / kept.sum(1, keepdim=True)


def aggregated(shares: Tensor, maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Vectors [D, H, W] -> unit vectors [D, *grid], each the mean of those that it attends to by `shares` [P, P]."""
    tokens = windowed.resize(maps, grid).flatten(1).T
    return F.normalize(shares @ tokens, dim=1).T.reshape(-1, *grid)


def sam_from_folder(folder: Path) -> SamCorrelation:
    """The encoder of a SAM as the hub has it. Raises WeightsError where there is none."""
    require_transformers(NAME)
    from transformers import SamVisionModel  # optional, and slow to import

    return SamCorrelation(read_pretrained(folder, SamVisionModel, NAME))


def sam_from_hub(card_name: str) -> SamCorrelation:
    """Raises WeightsError where it cannot be had."""
    return sam_from_folder(fetch_folder(available()[card_name].model_copy(update={"hub": HUB}), FILES))


def sam_from_state(config: dict[str, Any], state: dict[str, Tensor]) -> SamCorrelation:
    """Raises WeightsError where the weights are of another network."""
    require_transformers(NAME)
    from transformers import SamVisionConfig, SamVisionModel  # optional, and slow to import

    return SamCorrelation(filled(SamVisionModel, SamVisionConfig(**config), state, NAME))
