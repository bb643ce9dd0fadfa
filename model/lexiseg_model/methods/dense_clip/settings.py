"""Settings of the dense CLIP methods, and their authors' (`data/policies.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from lexiseg_model.clip.patch_text import PatchTextSettings
from lexiseg_model.clip.vision import PositionRule
from lexiseg_model.types import DinoName

DATA = Path(__file__).parent / "data"
OF_CARD = ("short_side", "long_side", "background_words")  # settings of a policy that are other fields of a card

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


def published_policy(policy: PolicyName) -> DenseClipSettings:
    """Settings of a method as its authors ran it; the ones for single data sets are in the protocols."""
    stated = published()[policy]["settings"]
    return DenseClipSettings(policy=policy, **{name: stated[name] for name in stated if name not in OF_CARD})


@cache
def published() -> dict[str, Any]:
    """What the authors' configurations say, by policy."""
    content: dict[str, Any] = yaml.safe_load((DATA / "policies.yaml").read_text())
    return content
