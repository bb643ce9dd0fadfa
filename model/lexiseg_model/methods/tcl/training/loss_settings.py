"""Weights of TCL's losses; free of torch, for recipes hold them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class LossSettings(BaseModel):
    """Weights of the losses (TCL, section 3.3) and the areas that masks are drawn to, as shares of the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_contrast: float = 0.1
    feature_contrast: float = 0.1
    area: float = 0.4
    negative_area: float = 0.4
    image_variation: float = 1.0
    mask_variation: float = 1.0
    own_share: float = 0.4
    other_share: float = 0.0
