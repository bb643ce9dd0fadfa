"""Weights of a dense CLIP model, from a model directory or from the hub, and as one flat state.

Names: `clip.*` (open_clip's), `proxy.*` of a second tower (timm's) and `sam.*` (transformers').
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, settings_of, state_digest, under
from lexiseg_model.clip.dino import DinoTower, dino_from_hub, dino_from_state
from lexiseg_model.clip.towers import ClipTowers, clip_from_hub, clip_from_state, hub_file, tokenizer
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip.sam import Sam, sam_from_hub, sam_from_state
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings

State = dict[str, Tensor]
CLIP, PROXY, SAM = "clip.", "proxy.", "sam."


class Parts(NamedTuple):
    """Networks of a model; `digest` identifies its image pass."""

    towers: ClipTowers
    proxy: DinoTower | None
    digest: str
    sam: Sam | None = None


def open_parts(folder: Path, card: ModelCard, settings: DenseClipSettings) -> Parts:
    """Build the networks from the weights in a card's folder, or from the hub's if the card names none."""
    if card.weights_sha256 is None:
        tag = _tag(card, settings)
        towers = clip_from_hub(settings.architecture, tag, quick_gelu=settings.quick_gelu, model=card.name)
        proxy = dino_from_hub(settings.proxy, card.name) if settings.has_proxy else None
        sam = sam_from_hub(card.name) if settings.policy == "trident" else None
        return Parts(towers, proxy, image_digest(card, state_digest(flat_state(towers, proxy, sam))), sam)
    state = read_weights(folder / WEIGHTS, card.weights_sha256)
    towers = clip_from_state(settings.architecture, under(CLIP, state), quick_gelu=bool(settings.quick_gelu))
    proxy = dino_from_state(settings.proxy, under(PROXY, state)) if settings.has_proxy else None
    sam = sam_from_state(settings.sam or {}, under(SAM, state)) if settings.policy == "trident" else None
    return Parts(towers, proxy, image_digest(card, card.weights_sha256), sam)


def flat_state(towers: ClipTowers, proxy: DinoTower | None, sam: Sam | None = None) -> State:
    """Flat state that `open_parts` reads."""
    state = {CLIP + name: value for name, value in towers.state.items()}
    if proxy is not None:
        state |= {PROXY + name: value for name, value in proxy.vit.state_dict().items()}
    if sam is not None:
        # Copies: SAM's positions have two names, and safetensors does not store shared tensors.
        state |= {SAM + name: value.clone() for name, value in sam.model.state_dict().items()}
    return state


def fetch_from_hub(card: ModelCard) -> None:
    """Download the weights that a card names by tag, unless they are cached."""
    settings = settings_of(card, DenseClipSettings)
    hub_file(settings.architecture, _tag(card, settings), card.name)
    tokenizer(settings.architecture)
    if settings.has_proxy:
        dino_from_hub(settings.proxy, card.name)
    if settings.policy == "trident":
        sam_from_hub(card.name)


def _tag(card: ModelCard, settings: DenseClipSettings) -> str:
    if settings.pretrained is None:
        raise WeightsError(f"{card.name}: the card names neither weights (weights_sha256) nor a pretrained tag")
    return settings.pretrained
