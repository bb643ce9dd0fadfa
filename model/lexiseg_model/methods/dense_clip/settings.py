"""Settings of the dense CLIP methods, and their authors' (`data/policies.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml
from pydantic import Field

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.catalogue.available import available
from lexiseg_model.clip.patch_text import PatchTextSettings
from lexiseg_model.clip.text_side import background_words
from lexiseg_model.clip.towers import configuration
from lexiseg_model.clip.vision import PositionRule
from lexiseg_model.errors import OptionError
from lexiseg_model.types import DinoName, Refinement

DATA = Path(__file__).parent / "data"

PolicyName = Literal["maskclip", "sclip", "naclip", "proxyclip", "corrclip", "trident"]


class DenseClipSettings(PatchTextSettings):
    """`settings` of a card of method dense_clip."""

    policy: PolicyName = "naclip"
    architecture: str = Field("ViT-B-16", description="open_clip's name, without -quickgelu")
    pretrained: str | None = Field("openai", description="open_clip's tag; None: weights lie beside the card")
    quick_gelu: bool | None = Field(None, description="activation; None: decided by tag or weights")
    positions: PositionRule = "scale_factor"
    area_thd: float | None = Field(None, ge=0, le=1, description="share of all foreground that a class must own")
    gaussian_std: float = Field(5.0, gt=0, description="NACLIP's neighbourhood, in patches")
    beta: float = Field(1.2, gt=0, description="ProxyCLIP: similarity times this mean is where attention begins")
    gamma: float = Field(3.0, gt=0, description="ProxyCLIP: sharpness of attention")
    proxy: DinoName = Field(
        "dino_vitb8", description="tower that says what belongs together, for policies with a second one"
    )
    sam_factor: float = Field(
        1.2, ge=0, description="Trident: factor of the mean cosine of SAM's values, which a pair must exceed to attend"
    )
    sam_low_bound: float | None = Field(None, description="Trident: bound in place of a negative one; None: it stays")
    sam_strips: int = Field(
        1, ge=1, description="Trident: number of vertical strips of a picture that SAM encodes apart"
    )
    sam_least: float = Field(0.2, ge=0, le=1, description="Trident: probability below which a pixel prompts nothing")
    sam: dict[str, Any] | None = Field(None, description="Trident: values of `transformers.SamConfig`; None: the hub's")
    proposals: str = Field("sam2.1-hiera-large", description="CorrCLIP: name of the model whose masks it takes")

    @property
    def has_proxy(self) -> bool:
        return self.policy in ("proxyclip", "corrclip", "trident")

    @property
    def takes_masks(self) -> bool:
        return self.policy == "corrclip"


class PublishedPolicy(StrictModel):
    """A method as its authors ran it: its settings, and values of other fields of a card."""

    settings: DenseClipSettings
    short_side: int = Field(ge=32, description="shorter side of the resized image, in pixels")
    long_side: int = Field(2048, ge=32, description="maximum length of the longer side, in pixels")
    background_words: tuple[str, ...] = Field(description="texts of class 0, where a vocabulary has a background")
    refine: Refinement = Field(description="refinement of the masks")


@cache
def _published() -> dict[str, Any]:
    published: dict[str, Any] = yaml.safe_load((DATA / "policies.yaml").read_text())
    return published


def known_policy(name: str) -> PolicyName:
    """Policy of a name.

    Raises:
        OptionError: there is no such policy.
    """
    if name not in get_args(PolicyName):
        raise OptionError(f"no policy {name!r}; there are {', '.join(get_args(PolicyName))}")
    return cast(PolicyName, name)


def published_policy(policy: str) -> PublishedPolicy:
    """A method as published; its settings for single data sets are in the protocols."""
    name = known_policy(policy)
    entry = _published()[name]
    settings = dict(entry["settings"])
    words = background_words(settings.pop("background_words"))
    sides = {side: settings.pop(side) for side in ("short_side", "long_side") if side in settings}
    refine = entry.get("refine", "pamr" if settings["pamr_iterations"] else "none")
    own = DenseClipSettings(policy=name, **settings)
    return PublishedPolicy(settings=own, background_words=words, refine=refine, **sides)


def card_settings(
    card: ModelCard, policy: PolicyName, architecture: str, quick_gelu: bool, proposals: str | None = None
) -> dict[str, Any]:
    """Changes of the bundled card for weights from a file under a policy, by field."""
    published = published_policy(policy)
    changes = {"architecture": architecture, "pretrained": None, "quick_gelu": quick_gelu}
    settings = published.settings.model_copy(update=changes | ({"proposals": proposals} if proposals else {}))
    sides = {"short_side": published.short_side, "long_side": published.long_side}
    return {
        "settings": settings.model_dump(mode="json"),
        "input": card.input.model_copy(update=sides),
        "background": card.background.model_copy(update={"words": list(published.background_words)}),
        "refine": published.refine,
        "refinements": list(dict.fromkeys(["none", "pamr", "lposs", published.refine])),
        "embedding": configuration(architecture)["embed_dim"],
        "text_tower": f"CLIP {architecture}",
    }


def listed_card(card: ModelCard, architecture: str) -> ModelCard | None:
    """The bundled card with the changes that the list of models has for another architecture; None: it has none."""
    cards = (entry.card for entry in available().values() if entry.method == card.method)
    changes = next((each for each in cards if each.get("settings", {}).get("architecture") == architecture), None)
    if changes is None:
        return None
    settings = card.settings | changes["settings"]
    return ModelCard.model_validate(card.model_dump() | changes | {"settings": settings})
