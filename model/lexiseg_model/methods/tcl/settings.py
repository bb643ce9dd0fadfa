"""What a card says about TCL's inference; the defaults are those of the authors' evaluation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.methods.tcl.blend import BACKGROUND_PLAIN, BACKGROUND_REFINED

ARCHITECTURE = "ViT-B-16"  # the only one that TCL was published for


class TclSettings(BaseModel):
    """`settings` of a card of method tcl."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP below, with QuickGELU")
    window: int = Field(448, ge=32, description="side of a sliding window in pixels")
    stride: int = Field(224, ge=16, description="step between windows")
    templates: str = Field("tcl9", description="template set of the text side")
    kp_weight: float = Field(0.3, ge=0, le=1, description="of CLIP's own masks in the blend")
    background: float = Field(BACKGROUND_PLAIN, ge=0, le=1, description="mask that a class must beat, unrefined")
    background_pamr: float = Field(BACKGROUND_REFINED, ge=0, le=1, description="the same after PAMR")
    probability_scale: float = Field(
        20.0, gt=0, description="of masks before the softmax of `score`; labels do not depend on it"
    )
