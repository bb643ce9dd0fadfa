"""Recipes: what every training run uses, as validated data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

BUDGETS = ("steps", "epochs", "minutes")
Curve = Literal["warmup-stable-decay", "cosine", "multistep"]
DecayRule = Literal["matrices", "all-but-vectors", "all-but-norms-and-embeddings"]
Numbers = Literal["auto", "bfloat16", "float16", "float32"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]


class Phase(BaseModel):
    """Crop size and batch from a share of the run on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: float = Field(ge=0, lt=1)
    crop: int = Field(ge=64, multiple_of=32)
    batch: int = Field(ge=1)


class RunRecipe(BaseModel):
    """What every run is told, whatever it trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What may differ from the recipe of a checkpoint that a run goes on from: how long, where, by what.
    may_differ: ClassVar[frozenset[str]] = frozenset(
        {*BUDGETS, "recipe", "licence", "decay_steps", "decay_share", "slice_minutes", "out", "packs", "cells", "texts"}
        | {"device", "workers", "checkpoint_minutes", "checkpoint_steps", "log_steps", "trackers", "nonfinite_limit"}
        | {"models_dir", "samples"}
    )

    recipe: str = Field("", description="the name it has, or had before values of a file were laid over it")
    licence: str | None = Field(None, description="what the weights may be used for, as the card will say")
    data: Path = Path("../shared/data")
    out: Path
    seed: int = 0
    device: str = "auto"
    workers: int = Field(1, ge=0)  # processes that make batches
    packs: Path = Path("runs/packs")  # photographs, decoded once

    # How long: one of these three.
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)  # passes over the examples, where the method counts them
    minutes: float | None = Field(None, gt=0)  # of training, over all starts
    slice_minutes: float | None = Field(None, gt=0)  # stop then, to be started again

    phases: list[Phase] = Field(min_length=1)
    accumulation: int = Field(1, ge=1)  # batches whose gradients make one step
    precision: Numbers = "auto"  # of what autocast multiplies; auto: bfloat16 where the processor has it, else float32

    learning_rate: float = Field(gt=0)  # the peak
    rate_batch: int | None = Field(None, ge=1)  # the batch that it is of: another one's is in proportion
    rate_factors: dict[str, float] = {}  # part of the network -> factor of its learning rate
    schedule: Curve = "warmup-stable-decay"
    warmup_steps: int = Field(ge=0)
    warmup_from: float | None = Field(None, ge=0, le=1)  # share of the peak at step 0; None: 1 / warmup_steps
    decay_steps: int = Field(0, ge=0)  # warmup-stable-decay: the last so many
    decay_share: float = Field(0.0, ge=0, le=1)  # the same as a share of the run
    milestones: tuple[float, ...] = (0.85, 0.95)  # multistep: shares of the run
    milestone_factor: float = Field(0.1, gt=0, lt=1)
    last_rate: float = Field(0.01, ge=0, le=1)  # share of the peak at the end of a decay or a cosine

    weight_decay: float = Field(ge=0)
    decay_rule: DecayRule = "matrices"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(1e-8, gt=0)
    largest_gradient: float | None = Field(2.0, gt=0)  # norm over all weights; None: any
    average_decay: float = Field(ge=0, lt=1)

    checkpoint_minutes: float = Field(gt=0)
    checkpoint_steps: int | None = Field(None, ge=1)  # and every so many steps
    validate_steps: int | None = Field(None, ge=1)  # every so many steps, and at the end
    best_by: str | None = None  # figure of the validation that chooses the best weights; with a minus, the smaller
    log_steps: int = Field(50, ge=1)
    trackers: tuple[Tracker, ...] = ()
    nonfinite_limit: int = Field(3, ge=1)  # steps without a finite loss and gradient, after which a run stops

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "nothing"
            raise ValueError(f"how long it trains is said by {said}; say one of {', '.join(BUDGETS)}")
        if self.decay_steps and self.decay_share:
            raise ValueError("decay_steps and decay_share are both given; say one of them")
        if self.decay_steps and self.steps is None:
            raise ValueError(f"decay_steps is of a run of so many steps; say decay_share beside {given[0]}")
        if self.steps is not None and self.decay_steps > self.steps:
            raise ValueError(f"decay_steps is {self.decay_steps}, more than the {self.steps} steps of the run")
        if self.best_by is not None and self.validate_steps is None:
            raise ValueError("best_by needs validate_steps: nothing is validated without")
        return self

    @property
    def length(self) -> str:
        """How long it trains, in words."""
        if self.steps is not None:
            return f"{self.steps:,} steps"
        return f"{self.epochs:g} epochs" if self.epochs is not None else f"{self.minutes:g} minutes"

    @field_validator("phases")
    @classmethod
    def _cover_the_run(cls, phases: list[Phase]) -> list[Phase]:
        starts = [phase.after for phase in phases]
        if starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f"phases begin after {starts} of the run; the first must begin at 0, the others in order")
        return phases


def with_budget(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A recipe's values before `key` is laid over them: without what else says how long a run is, if `key` says it.

    So `minutes=15` is enough over a recipe of 6000 steps; its decay stays the same share of the run. Over `steps=60` it
    stays as many steps, or the same share where they are more than that.
    """
    if key not in BUDGETS or value is None:
        return values
    dropped = {*BUDGETS} if key == "steps" else {*BUDGETS, "decay_steps"}
    kept = {name: value for name, value in values.items() if name not in dropped}
    steps, decay = values.get("steps"), values.get("decay_steps")
    if isinstance(steps, int) and isinstance(decay, int) and decay:
        if key != "steps":
            kept["decay_share"] = decay / steps
        elif isinstance(value, int) and 0 < value < decay <= steps:
            kept["decay_steps"] = decay * value // steps
    return kept
