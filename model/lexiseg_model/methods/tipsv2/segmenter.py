"""Segmenter of `tipsv2`: cosines of patches with texts over sliding windows."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.transformers_model import require_transformers
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, state_digest
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.device import Execution
from lexiseg_model.errors import ForeignWeightsError, WeightsError
from lexiseg_model.methods.tipsv2.import_ import TOKENIZERS, Options, read
from lexiseg_model.methods.tipsv2.towers import NAME, TipsImageTower, TipsSettings, TipsTextTower, build_tips
from lexiseg_model.types import ModelCard

# Files of the hub's repository; the first of each group that exists is used.
FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    TOKENIZERS,
    ("tokenizer_config.json",),
)


def load(folder: Path, card: ModelCard, execution: Execution) -> PatchTextSegmenter:
    """Load a model directory, or the hub's repository if the card names no weights.

    Raises:
        WeightsError: transformers is not installed, or the weights are missing, damaged, or of another model.
    """
    require_transformers(NAME)
    raw_settings = card.settings
    if card.weights_sha256 is None:
        imported = read(Options(checkpoint=fetch_folder(available()[card.name], FILES)))
        state, raw_settings = imported.state, {**imported.card.settings, **card.settings}
        digest = state_digest(state)
    else:
        state, digest = read_weights(folder / WEIGHTS, card.weights_sha256), card.weights_sha256
    try:
        settings = TipsSettings.model_validate(raw_settings)
    except ValidationError as error:
        raise WeightsError(f"{card.name}: the card's settings are not those of tipsv2: {error}") from None
    network = build_tips(settings, state)
    texts = TipsTextTower(network.text_model, settings, state, execution.device)
    if texts.width != card.embedding:
        raise ForeignWeightsError(
            f"{card.name}: the card says embedding {card.embedding}, its weights have {texts.width}; correct the card"
        )
    tower = TipsImageTower(network.vision_model, settings)
    return PatchTextSegmenter(tower, texts, settings, card, image_digest(card, digest), execution)


def require_weights(card: ModelCard) -> None:
    """Fetch the weights of a card that names none. Raises WeightsError where they cannot be had."""
    require_transformers(NAME)
    fetch_folder(available()[card.name], FILES)
