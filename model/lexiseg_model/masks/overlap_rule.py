"""The thresholds of non-maximum suppression; free of torch, because settings and recipes hold them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class OverlapRule(BaseModel):
    """When a better mask suppresses another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: float = Field(0.5, gt=0, le=1, description="intersection over union from which the worse one goes")
    inside: float | None = Field(
        0.7, gt=0, le=1, description="share of the worse one inside the better from which it goes"
    )


OVERLAPS = OverlapRule()
