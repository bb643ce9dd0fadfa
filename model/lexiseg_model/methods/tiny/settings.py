"""`settings` of a card of method tiny: which masks a grid of points proposes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.masks.nms import OverlapRule


class ProposalSettings(BaseModel):
    """A grid of points asks for everything; four masks answer each, those good enough and not yet there are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    quality: float = Field(0.4, ge=0, le=1, description="predicted quality from which a mask is kept")
    rule: OverlapRule = OverlapRule()


class TinySettings(BaseModel):
    """What the card of a model of this method may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    proposals: ProposalSettings = ProposalSettings()
