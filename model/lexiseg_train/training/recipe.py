"""Recipes: the settings of every training run, as validated data. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import yaml
from pydantic import Field, field_validator, model_validator
from pydantic_core import to_jsonable_python

from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import RecipeError
from lexiseg_train.data.pairs.shards import is_address

BUDGETS = ("steps", "epochs", "minutes")
Curve = Literal["warmup-stable-decay", "cosine", "multistep"]
DecayRule = Literal["matrices", "all-but-vectors", "all-but-norms-and-embeddings"]
Sharding = Literal["none", "full"]
Numbers = Literal["auto", "bfloat16", "float16", "float32"]
RECIPE, CHECKPOINT = "recipe.yaml", "checkpoint.pt"  # files of a run


class Phase(StrictModel):
    """Crop size and batch from a share of the run on."""

    after: float = Field(ge=0, lt=1, description="share of the run from which on the phase lasts")
    crop: int = Field(ge=64, multiple_of=32, description="side in pixels of the pictures that the network sees")
    global_batch: int = Field(ge=1, description="examples of one optimiser step, over all processes and accumulation")


class LocalPhase(NamedTuple):
    """A phase as one process sees it: side of the crops, and examples in one forward pass."""

    crop: int
    batch: int


class Division(NamedTuple):
    """Split of a global batch: `accumulation` forward passes of `batch` examples in every process."""

    batch: int
    accumulation: int


def divide(global_batch: int, processes: int, micro_batch: int | None) -> Division:
    """Split a global batch evenly over processes, in as few forward passes as `micro_batch` allows; None: one."""
    per_process, rest = divmod(global_batch, processes)
    if rest or not per_process:
        possible = ", ".join(str(n) for n in range(1, global_batch + 1) if global_batch % n == 0)
        raise RecipeError(
            f"global_batch {global_batch} cannot be divided over {processes} processes; expected one of {possible}"
        )
    limit = micro_batch or per_process
    accumulation = next(n for n in range(1, per_process + 1) if per_process % n == 0 and per_process // n <= limit)
    return Division(per_process // accumulation, accumulation)


class DeitSettings(StrictModel):
    """Settings of `lexiseg_train.training.pair_run.DeitViews`."""

    scale: tuple[float, float] = Field((0.08, 1.0), description="share of the photograph's area in a window")
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="width by height of a window")
    mirrored: float = Field(0.5, ge=0, le=1, description="share of views")
    policy: str | None = Field("rand-m9-mstd0.5-inc1", description="timm's name of RandAugment's strength; null: none")
    erased: float = Field(0.25, ge=0, le=1, description="share of views with a rectangle of noise in them")


class MaskLossSettings(StrictModel):
    """Weights of the losses between masks, the same in matching costs and loss; defaults of MaskFormer."""

    focal: float = 20.0
    dice: float = 1.0
    alpha: float = 0.25  # weight of pixels inside a mask, RetinaNet
    gamma: float = 2.0  # how strongly nearly right pixels are discounted, RetinaNet


class RunRecipe(StrictModel):
    """Settings of every run."""

    # Settings that may change when a run resumes: length, place, hardware, reporting.
    may_differ: ClassVar[frozenset[str]] = frozenset(
        {*BUDGETS, "recipe", "licence", "decay_steps", "decay_share", "slice_minutes", "out", "packs"}
        | {"device", "workers", "checkpoint_minutes", "checkpoint_steps", "log_steps", "trackers", "nonfinite_limit"}
        | {"models_dir", "samples", "micro_batch", "recompute", "compiled", "compiler", "sharding"}
    )

    recipe: str = Field("", description="name of the recipe that these values were laid over")
    licence: str | None = Field(None, description="terms of the weights, for the model card")
    data: Path = Field(Path("data"), description="folder that holds the data sets")
    out: Path = Field(description="folder of weights, checkpoints and journal; a run resumes from it")
    seed: int = Field(0, description="seed of weights, order, captions and views")
    device: str = Field("auto", description="cpu, cuda, mps; auto: the best that is there")
    workers: int = Field(1, ge=0, description="processes that make batches")
    packs: Path = Field(Path("runs/packs"), description="decoded photographs")

    # Length: exactly one of these three.
    steps: int | None = Field(None, ge=1, description="updates of the weights; or epochs, or minutes")
    epochs: float | None = Field(None, gt=0, description="passes over the examples, where the method counts them")
    minutes: float | None = Field(None, gt=0, description="minutes of training, summed over restarts")
    slice_minutes: float | None = Field(None, gt=0, description="minutes after which it stops, to be started again")

    phases: list[Phase] = Field(min_length=1, description="crop and batch, from a share of the run on")
    micro_batch: int | None = Field(None, ge=1, description="most examples in one forward pass; more are accumulated")
    recompute: tuple[str, ...] = Field((), description="parts of the network, as blocks, that keep no activations")
    compiled: tuple[str, ...] = Field((), description="parts of the network that torch.compile translates")
    compiler: str = Field("inductor", description="backend of torch.compile")
    sharding: Sharding = Field(
        "none", description="full: processes share weights, gradients and moments; `recompute` names FSDP's units"
    )
    precision: Numbers = Field("auto", description="precision of autocast; auto: bfloat16 where the processor has it")

    learning_rate: float = Field(gt=0, description="peak of the learning rate")
    rate_batch: int | None = Field(None, ge=1, description="batch of `learning_rate`; others scale in proportion")
    rate_factors: dict[str, float] = Field({}, description="part of the network -> factor of its learning rate")
    schedule: Curve = Field("warmup-stable-decay", description="curve of the learning rate; also cosine and multistep")
    warmup_steps: int = Field(ge=0, description="steps in which the learning rate rises to its peak")
    warmup_from: float | None = Field(None, ge=0, le=1, description="share of the peak at step 0; null: 1/warmup_steps")
    decay_steps: int = Field(0, ge=0, description="warmup-stable-decay: length of the decay")
    decay_share: float = Field(0.0, ge=0, le=1, description="warmup-stable-decay: the decay as a share of the run")
    milestones: tuple[float, ...] = Field(
        (0.85, 0.95), description="multistep: shares of the run at which the learning rate falls"
    )
    milestone_factor: float = Field(0.1, gt=0, lt=1, description="multistep: factor of the rate at each milestone")
    last_rate: float = Field(0.01, ge=0, le=1, description="share of the peak at the end of a decay or a cosine")

    weight_decay: float = Field(ge=0, description="weight decay of AdamW")
    decay_rule: DecayRule = Field("matrices", description="weights that decay; or all-but-vectors, as TCL's")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the two moving averages of AdamW")
    epsilon: float = Field(1e-8, gt=0, description="constant in the denominator of AdamW")
    largest_gradient: float | None = Field(2.0, gt=0, description="norm over all weights; null: unlimited")
    average_decay: float = Field(ge=0, lt=1, description="decay of the moving average of the weights; 0: none")

    checkpoint_minutes: float = Field(gt=0, description="minutes between checkpoints")
    checkpoint_steps: int | None = Field(None, ge=1, description="steps between checkpoints")
    validate_steps: int | None = Field(None, ge=1, description="steps between validations; there is one at the end")
    best_by: str | None = Field(None, description="figure that selects the best weights; `-NAME`: smaller is better")
    log_steps: int = Field(50, ge=1, description="steps between lines of the journal")
    trackers: tuple[Literal["tensorboard"], ...] = Field((), description="trackers that get the journal's figures, too")
    nonfinite_limit: int = Field(3, ge=1, description="steps in a row without a finite loss after which it stops")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            came = " and ".join(budgets) or "none of them"
            raise ValueError(f"the length of the run needs exactly one of {', '.join(BUDGETS)}; got {came}")
        if self.decay_steps and self.decay_share:
            raise ValueError("decay_steps and decay_share are both set; expected one of them")
        if self.decay_steps and self.steps is None:
            raise ValueError(f"decay_steps needs steps; with {budgets[0]} set decay_share")
        if self.steps is not None and self.decay_steps > self.steps:
            raise ValueError(f"decay_steps is {self.decay_steps}, more than the {self.steps} steps of the run")
        if self.best_by is not None and self.validate_steps is None:
            raise ValueError("best_by needs validate_steps: without it nothing is validated")
        return self

    @property
    def length(self) -> str:
        if self.steps is not None:
            return f"{self.steps:,} steps"
        return f"{self.epochs:g} epochs" if self.epochs is not None else f"{self.minutes:g} minutes"

    def place(self, name: Path | str) -> Path | str:
        """A file or folder below `data`; an address as it is."""
        return name if is_address(name) else self.data / name

    @field_validator("phases")
    @classmethod
    def _cover_the_run(cls, phases: list[Phase]) -> list[Phase]:
        starts = [phase.after for phase in phases]
        if starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f"phases start at {starts} of the run; expected the first at 0 and ascending order")
        return phases


class CaptionsRecipe(RunRecipe):
    """Settings of every run on captioned photographs."""

    pairs: list[Path | str] = Field(
        ["captions"], min_length=1, description="captioned photographs, below `data`, or s3:// and pipe: of shards"
    )
    json_captions: bool = Field(False, description="captions of a shard's .json where .txt is empty; else broken")
    held_out: int = Field(0, ge=0, description="pairs that are not trained on, for validation")
    mismatched: bool = Field(False, description="captions of other photographs: a control, which learns no words")


class PairsRecipe(CaptionsRecipe):
    """Settings of every run that contrasts photographs and captions."""

    shrunk: int | None = Field(None, ge=32, description="short side of photographs kept in memory; null: as they are")
    views: DeitSettings = Field(DeitSettings(), description="augmentation of photographs")


def with_budget(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Remove from a recipe's values the run lengths that setting `key` replaces; the decay keeps its share."""
    if key not in BUDGETS or value is None:
        return values
    dropped = {*BUDGETS} if key == "steps" else {*BUDGETS, "decay_steps"}
    remaining = {name: value for name, value in values.items() if name not in dropped}
    steps, decay = values.get("steps"), values.get("decay_steps")
    if isinstance(steps, int) and isinstance(decay, int) and decay:
        if key != "steps":
            remaining["decay_share"] = decay / steps
        elif isinstance(value, int) and 0 < value < decay <= steps:
            remaining["decay_steps"] = decay * value // steps
    return remaining


def is_begun(recipe: RunRecipe) -> bool:
    """Whether `recipe.out` holds a run that can resume."""
    file = recipe.out / RECIPE
    if not file.is_file() or not (recipe.out / CHECKPOINT).is_file():
        return False
    require_same_recipe(recipe.out, yaml.safe_load(file.read_text(encoding="utf-8")), recipe)
    return True


def require_same_recipe(path: Path, earlier: Mapping[str, Any], recipe: RunRecipe) -> None:
    """Raise RecipeError, which names settings with both values, where a recipe cannot continue what another began."""
    now = recipe.model_dump(mode="json")
    fields = {name: field for name, field in type(recipe).model_fields.items() if not field.is_required()}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    before = {**to_jsonable_python(defaults), **earlier}
    differences = [
        line
        for name in {**now, **earlier}
        if name not in recipe.may_differ
        for line in _differences(name, before.get(name), now.get(name))
    ]
    if differences:
        raise RecipeError(
            f"{path} was made by another recipe: {'; '.join(differences)}. Continue with its own recipe, "
            f"`lexiseg train {recipe.out / RECIPE}`, or train into another folder with out=FOLDER"
        )


def _differences(name: str, earlier: object, now: object) -> Iterator[str]:
    """One line for each part that differs, named as an override would name it."""
    if isinstance(earlier, dict) and isinstance(now, dict) and earlier and now:
        for key in {**earlier, **now}:
            yield from _differences(f"{name}.{key}", earlier.get(key), now.get(key))
    elif isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        for place, (one, other) in enumerate(zip(earlier, now, strict=True)):
            yield from _differences(f"{name}.{place}", one, other)
    elif earlier != now:
        yield f"{name} was {earlier!r}, is {now!r}"
