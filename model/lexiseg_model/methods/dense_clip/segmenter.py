"""`dense-clip` as a Segmenter: a stock CLIP whose last block is replaced, under the published background rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.device import Execution
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts, fetch_from_hub, open_parts
from lexiseg_model.types import ModelCard


class DenseClipSegmenter(PatchTextSegmenter):
    """A stock CLIP under an attention policy, on one device."""

    settings: DenseClipSettings

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        network = DenseNetwork(parts.towers.visual, settings, parts.proxy)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(network, texts, settings, card, parts.digest, execution)
        self.network = network

    @torch.inference_mode()
    def image_embedding(self, tiles: NDArray[np.uint8]) -> Tensor:
        """CLIP's own vectors [N, D] of whole tiles, of unit length."""
        return self.network.image_embedding(torch.from_numpy(tiles).to(self._execution.device))


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
