"""What decides which masks a grid of points proposes, and the compatibility mode that repeats the released code."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# How far to follow what was released where it is not what was meant; see `compatibility`.
Compatibility = Literal["none", "released"]


class OverlapRule(BaseModel):
    """When a better mask suppresses another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: float = Field(0.5, gt=0, le=1, description="intersection over union from which the worse one goes")
    inside: float | None = Field(
        0.7, gt=0, le=1, description="share of the worse one inside the better from which it goes"
    )


OVERLAPS = OverlapRule()


class ProposalSettings(BaseModel):
    """Stage one's inference, as released: 20 x 20 points with four masks each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    points_per_pass: int = Field(100, ge=1, description="points that go through the mask decoder together")
    # The released code keeps 0.65 of a sigmoid taken twice: the same masks.
    quality: float = Field(0.619, ge=0, le=1, description="predicted quality from which a mask is kept")
    rule: OverlapRule = OVERLAPS
    compatibility: Compatibility = "none"


PROPOSALS = ProposalSettings()
