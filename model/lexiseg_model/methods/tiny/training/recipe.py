"""Settings of the recipes of `tiny`: the network, the prompt head, fine-tuning and distillation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.types import StrictModel

OWN = "pictures"  # the set that a user's pictures become
TEXTS = Path(__file__).with_name("texts.yaml")  # what things are called


class TinyRecipe(RunRecipe):
    """Everything that decides the weights of `tiny` but those of its prompt head, and the data itself."""

    sets: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)  # data set -> factor beside size ** mixing
    texts: Path | None = None  # where rows of texts are kept for the next run; None: beside the packs
    mixing: float = Field(ge=0, le=1)
    start: str  # "bundled", "scratch" or a safetensors file
    width: float = Field(1.0, ge=0.25, le=2, multiple_of=0.125)  # of the trunk, beside that of the bundled weights
    out: Path = Path("runs/tiny")
    frozen: tuple[str, ...] = ()  # parts of the network that stay as they are
    balance: float = Field(ge=0, le=1)  # a class's weight is frequency ** -balance
    zoom: tuple[float, float] = (0.35, 1.3)  # of the shorter side of a photograph that a crop shows
    whole: float = Field(0.2, ge=0, le=1)  # share of whole pictures
    class_first: float = Field(0.5, ge=0, le=1)  # share of crops whose class is drawn before the photograph
    repeat: float = Field(0.5, ge=0, le=1)  # then a class is drawn with its number of photographs ** (1 - repeat)
    pixel_share: float = Field(1.0, gt=0, le=1)  # of a crop's cells that are asked in a step, drawn for each
    paste: float = Field(0.0, ge=0, le=1)  # share of crops that objects of other photographs are laid on
    paste_from: tuple[str, ...] = ()  # sets whose masks cut objects out
    paste_onto: tuple[str, ...] = ()  # sets whose crops get them
    subset_weight: float = Field(ge=0)  # of the random request
    presence_weight: float = Field(ge=0)
    presence_focus: float = Field(0.9, ge=0, le=1)  # 0: absent classes weigh the same, 1: the likeliest count
    dice_weight: float = Field(0.0, ge=0)
    deep_weight: float = Field(0.0, ge=0)  # of the whole class list asked at stride 16
    levels: tuple[str, ...] = ()  # sets that levels of words are fitted on at the end; those not in `sets` do not count


class MaskSet(StrictModel):
    """How often a data set is drawn from, and what its mask values say about objects."""

    share: float = Field(gt=0, description="of the crops, beside those of the other sets")
    nothing: int | None = Field(None, ge=0, le=254, description="value whose components are no objects")
    whole: float = Field(0.0, ge=0, le=1, description="share of crops in which all other values are one")
    ignored: bool = Field(True, description="255 counts nowhere; false: it is outside of every object")
    splits: list[str] = Field(["train"], min_length=1, description="folders of the set that are used")
    every: int = Field(1, ge=1, description="one of so many photographs is used: neighbours in a video are alike")


class PromptsRecipe(RunRecipe):
    """Everything that decides the weights of the prompt head, but the network below it and the data."""

    sets: dict[str, MaskSet] = Field(min_length=1)
    below: str  # "bundled" or a safetensors file: the network whose features the head reads
    out: Path = Path("runs/tiny-prompts")
    lone: int = Field(ge=1)  # prompts of one point, of each crop
    sure: int = Field(ge=1)  # boxes, groups of points, or both
    corrected: int = Field(0, ge=0)  # of these: a point, and a second one where its mask is wrong
    start: str  # "bundled", "scratch" or a safetensors file: the head to begin with

    @model_validator(mode="after")
    def _correct_some(self) -> PromptsRecipe:
        if self.corrected >= self.sure:
            raise ValueError(f"corrected is {self.corrected}; it must be below sure, {self.sure}")
        return self


class OwnRecipe(TinyRecipe):
    """What all training on a user's own pictures decides."""

    data: Path  # the pictures
    models_dir: Path | None = None  # where models of the user's are looked for
    sets: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: {OWN: 1.0}, min_length=1)
    photographs: int | None = Field(None, ge=4)  # at most so many, evenly over the folder
    held_out: float = Field(gt=0, lt=1)  # share of the photographs, where the folder keeps none apart
    samples: int = Field(ge=0)  # pictures of before and after


class FinetuneRecipe(OwnRecipe):
    """Everything that decides what a user's own pictures change: the projection of texts, over an image tower that
    stays."""

    start: str  # name of a model, or a model directory
    out: Path = Path("runs/finetune")
    keep: float = Field(ge=0)  # weight of leaving other words where they were


class DistilRecipe(OwnRecipe):
    """Everything that decides what a student learns from another model's masks of photographs."""

    teacher: str  # name of a model, a model directory, or the address of a server
    student: Literal["tiny"] = "tiny"  # whose network it is
    classes: tuple[str, ...] = ()  # what the teacher is asked for; none: classes.json of the folder
    start: str = "auto"  # bundled where `width` is 1, else scratch
    out: Path = Path("runs/distil")

    @property
    def begin(self) -> str:
        """As `start` of `tiny`."""
        return self.start if self.start != "auto" else "bundled" if self.width == 1 else "scratch"

    @property
    def by_address(self) -> bool:
        """Whether a server is asked."""
        return re.search(r"://|:\d+$", self.teacher) is not None
