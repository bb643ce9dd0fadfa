"""Segmenter of `sam2`: one image pass, then any number of prompts; objects are tracked through later frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lexiseg_model.abilities import Proposals
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import build_network, require_transformers
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.features import Features
from lexiseg_model.methods.sam2.head import Grid, PromptedSegmenter, PromptHead, everything
from lexiseg_model.methods.sam2.import_ import NAME, Options, Sam2Settings, classes_of, read
from lexiseg_model.resources.device import Execution

# Files of the hub's repository; the first of each group that exists is used.
FILES = (("config.json",), ("model.safetensors",), ("preprocessor_config.json", "processor_config.json"))


class Sam2Segmenter(PromptedSegmenter):
    """SAM 2.1 or EdgeTAM on one device."""

    def __init__(
        self, state: dict[str, Tensor], settings: Sam2Settings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        super().__init__(settings, card, digest, execution)
        self.text_digest = digest
        self.settings = settings
        config, model = classes_of(settings.config.get("model_type"))
        self.model: Any = build_network(model, config(**settings.config), state, NAME).to(execution.device)
        self._head = PromptHead(self.model, self.model.vision_encoder.neck.position_encoding, execution.device)

    @property
    def sam_head(self) -> PromptHead:
        return self._head

    def image_maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.sam_head.maps(self.model.vision_encoder(pixels).fpn_hidden_states)

    def propose(self, features: Features) -> Proposals:
        return features.derived.once("proposals", lambda: everything(self.sam_head, features, Grid(self.settings.grid)))


def load(folder: Path, card: ModelCard, execution: Execution) -> Sam2Segmenter:
    """Load a model directory, or the hub's repository if the card names no weights."""
    require_transformers(NAME)
    card, state, digest = open_weights(folder, card, lambda: read(require_weights(card)), ("input", "embedding"))
    return Sam2Segmenter(state, settings_of(card, Sam2Settings), card, digest, execution)


def require_weights(card: ModelCard) -> Options:
    """Fetch the weights for a card that names none."""
    require_transformers(NAME)
    return Options(checkpoint=fetch_folder(available()[card.name], FILES))
