"""`dense-clip` as a Segmenter: a stock CLIP whose last block is replaced, under the published background rule.

Features beside `patches` and `guide`: for CLIP-DINOiser `objectness` [N, h, w].
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import Padding
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.device import Execution
from lexiseg_model.features import Features, Layout
from lexiseg_model.methods.dense_clip.network import DenseNetwork, ImagePass
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts, fetch_from_hub, open_parts
from lexiseg_model.types import ModelCard, Refinement


class DenseClipSegmenter(PatchTextSegmenter):
    """A stock CLIP under an attention policy, on one device."""

    settings: DenseClipSettings
    maps = ("patches", "objectness")

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        network = DenseNetwork(parts.towers.visual, settings, parts.proxy, parts.heads)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(ImagePass(network), texts, settings, card, parts.digest, execution)
        self.network = network

    @torch.inference_mode()
    def image_embedding(self, tiles: NDArray[np.uint8]) -> Tensor:
        """CLIP's own vectors [N, D] of whole tiles, of unit length."""
        return self.network.image_embedding(torch.from_numpy(tiles).to(self._execution.device))

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """As of any two towers; CLIP-DINOiser: less probable than `certainty` where its heads see no object."""
        if self.settings.policy != "clip_dinoiser" or threshold is not None:
            return super().nobody_score(logits, threshold, refine, features)
        unsure = logits.logsumexp(0) + math.log(self.settings.certainty)
        if features is None:
            return unsure
        is_object = self._objectness(features, (logits.shape[1], logits.shape[2])) > 0.5
        return torch.where(is_object, -torch.inf, unsure)

    def _objectness(self, features: Features, size: tuple[int, int]) -> Tensor:
        """[H, W] in 0..1, windows averaged."""
        layout = features.layout or Layout(features.size, features.size)
        padding = Padding.to_multiple(layout.tile, self.tower.multiple)
        maps = (self.on_window(each.float()[None], layout, padding) for each in features.tensors["objectness"])
        return windowed.resize(windowed.merge(maps, layout, self._execution.precision), size)[0]


def load(folder: Path, card: ModelCard, execution: Execution) -> DenseClipSegmenter:
    """Loads a model directory, or the hub's weights by the card's settings.

    Raises:
        WeightsError: the weights are missing, damaged, or of another model.
    """
    settings = settings_of(card, DenseClipSettings)
    return DenseClipSegmenter(open_parts(folder, card, settings), settings, card, execution)


def require_weights(card: ModelCard) -> None:
    """Fetches the hub's weights of a card that names no file.

    Raises:
        WeightsError: they cannot be had; the message says the two ways to provide them.
    """
    fetch_from_hub(card)
