"""Segmenter of `sam2`: one image pass, then any number of prompts; objects are tracked through later frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import build_network, require_transformers
from lexiseg_model.catalogue.weights import image_digest, settings_of
from lexiseg_model.clip import windowed
from lexiseg_model.device import Execution
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, encode_each
from lexiseg_model.methods.sam2.import_ import NAME, Options, Sam2Settings, classes_of, read
from lexiseg_model.segmenter import PromptMasks, Proposals, Segmenter
from lexiseg_model.types import ModelCard, Prompt
from lexiseg_model.video.sam import LEVELS, Grid, PromptHead, SamMemory, everything, square_plan

# Files of the hub's repository; the first of each group that exists is used.
FILES = (("config.json",), ("model.safetensors",), ("preprocessor_config.json", "processor_config.json"))


class Sam2Segmenter(Segmenter):
    """SAM 2.1 or EdgeTAM on one device; float32 except in the image pass."""

    takes_masks = True

    def __init__(
        self, state: dict[str, Tensor], settings: Sam2Settings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        self.card = card
        self.digest = self.text_digest = digest
        self.settings = settings
        self._execution = execution
        device = execution.device
        config, model = classes_of(settings.config.get("model_type"))
        self.model: Any = build_network(model, config(**settings.config), state, NAME).to(device)
        self.sam_head = PromptHead(self.model, self.model.vision_encoder.neck.position_encoding, device)
        colours = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
        self._mean, self._std = colours.to(device)
        self.buckets = ((settings.side, settings.side),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Resize the image to the network's square input; `max_side` has no effect."""
        return square_plan(rgb, self.settings.side)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        return encode_each(tiles, self._execution.device, self._image_pass)

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        dtype = self._execution.dtype
        pixels = (tiles.float() / 255 - self._mean) / self._std
        with torch.autocast(self._execution.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.sam_head.maps(self.model.vision_encoder(pixels).fpn_hidden_states)
        return windowed.as_kept(maps, self._execution.precision)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        # Copies: a view would keep the whole batch in memory while this image is cached.
        return Features(plan.size, {name: part[0].clone() for name, part in zip(LEVELS, tile_features, strict=True)})

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Three masks for a single click, one for any other prompt."""
        return self.sam_head.prompt(features, prompts)

    def propose(self, features: Features) -> Proposals:
        return features.derived.once("proposals", lambda: everything(self.sam_head, features, Grid(self.settings.grid)))

    def object_memory(self) -> SamMemory:
        """An empty memory for the objects of one video stream."""
        return SamMemory(self.sam_head)


def load(folder: Path, card: ModelCard, execution: Execution) -> Sam2Segmenter:
    """Load a model directory, or the hub's repository if the card names no weights.

    Raises:
        WeightsError: transformers is not installed, or the weights are missing, damaged, or of another model.
    """
    require_transformers(NAME)
    card, state, digest = open_weights(
        folder,
        card,
        lambda: read(Options(checkpoint=fetch_folder(available()[card.name], FILES))),
        ("input", "embedding"),
    )
    return Sam2Segmenter(state, settings_of(card, Sam2Settings), card, image_digest(card, digest), execution)


def require_weights(card: ModelCard) -> None:
    """Fetch the weights for a card that names none. Raises WeightsError if they cannot be fetched."""
    require_transformers(NAME)
    fetch_folder(available()[card.name], FILES)
