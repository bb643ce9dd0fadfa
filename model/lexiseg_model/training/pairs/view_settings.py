"""How photographs are varied; free of torch, for recipes hold it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DeitSettings(BaseModel):
    """Settings of `lexiseg_model.training.deit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: tuple[float, float] = Field((0.08, 1.0), description="share of the photograph's area in a window")
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="width by height of a window")
    mirrored: float = Field(0.5, ge=0, le=1, description="share of views")
    policy: str | None = Field("rand-m9-mstd0.5-inc1", description="timm's name of RandAugment's strength; null: none")
    erased: float = Field(0.25, ge=0, le=1, description="share of views with a rectangle of noise in them")
