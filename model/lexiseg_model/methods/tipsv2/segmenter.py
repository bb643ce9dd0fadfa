"""Segmenter of `tipsv2`: cosines of patches with texts over sliding windows."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import TEXT_FILES, require_transformers
from lexiseg_model.catalogue.weights import image_digest, settings_of
from lexiseg_model.clip.patch_text import PatchTextSegmenter, require_embedding
from lexiseg_model.device import Execution
from lexiseg_model.methods.tipsv2.import_ import Options, read
from lexiseg_model.methods.tipsv2.towers import NAME, TipsImageTower, TipsSettings, TipsTextTower, build_tips
from lexiseg_model.types import ModelCard


def load(folder: Path, card: ModelCard, execution: Execution) -> PatchTextSegmenter:
    """Load a model directory, or the hub's repository if the card names no weights.

    Raises:
        WeightsError: transformers is not installed, or the weights are missing, damaged, or of another model.
    """
    require_transformers(NAME)
    card, state, digest = open_weights(
        folder, card, lambda: read(Options(checkpoint=fetch_folder(available()[card.name], TEXT_FILES)))
    )
    settings = settings_of(card, TipsSettings)
    network = build_tips(settings, state)
    texts = TipsTextTower(network.text_model, settings, state, execution.device)
    require_embedding(card, texts)
    tower = TipsImageTower(network.vision_model, settings)
    return PatchTextSegmenter(tower, texts, settings, card, image_digest(card, digest), execution)


def require_weights(card: ModelCard) -> None:
    """Fetch the weights for a card that names none. Raises WeightsError if they cannot be fetched."""
    require_transformers(NAME)
    fetch_folder(available()[card.name], TEXT_FILES)
