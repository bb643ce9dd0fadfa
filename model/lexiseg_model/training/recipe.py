"""Recipes: what every training run uses, as validated data."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Phase(BaseModel):
    """Crop size and batch from a share of the run on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: float = Field(ge=0, lt=1)
    crop: int = Field(ge=64, multiple_of=32)
    batch: int = Field(ge=1)


class RunRecipe(BaseModel):
    """What every run is told, whatever it trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field("", description="the name it has, or had before values of a file were laid over it")
    data: Path = Path("../shared/data")
    out: Path
    steps: int = Field(ge=1)
    decay_steps: int = Field(0, ge=0)  # the last so many
    slice_minutes: float | None = Field(None, gt=0)  # stop then, to be started again
    seed: int = 0
    phases: list[Phase] = Field(min_length=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)
    average_decay: float = Field(ge=0, lt=1)
    checkpoint_minutes: float = Field(gt=0)
    packs: Path = Path("runs/packs")  # photographs, decoded once
    device: str = "auto"
    workers: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _decay_within_the_run(self) -> Self:
        if self.decay_steps > self.steps:
            raise ValueError(f"decay_steps is {self.decay_steps}, more than the {self.steps} steps of the run")
        return self

    @field_validator("phases")
    @classmethod
    def _cover_the_run(cls, phases: list[Phase]) -> list[Phase]:
        starts = [phase.after for phase in phases]
        if starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f"phases begin after {starts} of the run; the first must begin at 0, the others in order")
        return phases
