"""`dense-clip` as a Segmenter: a stock CLIP whose last block is replaced, under the published background rule."""

from __future__ import annotations

from pathlib import Path

from open_clip.timm_model import TimmModel

from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip.patch_text import ImageTower, PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.device import Execution
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts, fetch_from_hub, open_parts
from lexiseg_model.methods.dense_clip.timm_tower import TimmTower
from lexiseg_model.types import ModelCard


class DenseClipSegmenter(PatchTextSegmenter):
    """A stock CLIP under an attention policy, on one device."""

    settings: DenseClipSettings

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        tower = image_tower(parts, settings)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(tower, texts, settings, card, parts.digest, execution)


def image_tower(parts: Parts, settings: DenseClipSettings) -> ImageTower:
    """CLIP's under its policy, or timm's as it is.

    Raises:
        WeightsError: a tower that gives no patches, or a policy that it does not know.
    """
    visual = parts.towers.visual
    if not isinstance(visual, TimmModel):
        return DenseNetwork(visual, settings, parts.proxy)
    if settings.policy != "maskclip":
        raise WeightsError(f"{settings.architecture} knows the policy maskclip alone; got {settings.policy}")
    return TimmTower(visual, settings.normalisation)


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
