"""Recipes and trainings of `tiny`: network without prompt head, prompt head, directions of words, own pictures."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import RecipeError, TaskError
from lexiseg_train.data.drawn_shapes import SHAPES, write_drawn
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.training import AtAddress, Rehearsal, Training, code_at

if TYPE_CHECKING:
    from lexiseg_train.training.run import Run

HERE = "lexiseg_train.methods.tiny"
METHOD = "tiny"
OWN = "pictures"  # the set that a user's pictures become
PUBLISHED_TRUNK = "a trunk pretrained on ImageNet"
Weights = dict[str, Annotated[float, Field(gt=0)]]  # of sets
TrunkTraining = Literal["frozen", "deep", "trained"]


class TinyRecipe(RunRecipe):
    """Recipe of `tiny` without its prompt head; with the data it determines the weights."""

    sets: Weights = Field(min_length=1, description="each set's weight, times its size ** mixing")
    mixing: float = Field(ge=0, le=1, description="exponent of a set's size in its share")
    start: str = Field(description="`bundled`, `scratch` or a safetensors file")
    licences: Literal["any", "fair"] = Field("any", description="fair: those that allow commercial use")
    embedding: int | None = Field(
        None, ge=1, description="width of the vectors of a network with a path past the decoder"
    )
    trunk: TrunkTraining = Field("trained", description="deep: trained from stride 16 on")
    open_check: bool = Field(False, description="no crop asks for the names of the open check")
    names_weight: float = Field(
        0.0, ge=0, description="weight of the loss against what the published trunk's classifier sees"
    )
    keep_weight: float = Field(0.0, ge=0, description="weight of the loss that keeps the start's scores of other words")
    out: Path = Path("runs/tiny")
    balance: float = Field(ge=0, le=1, description="a class's weight is frequency ** -balance")
    zoom: tuple[float, float] = Field((0.35, 1.3), description="window's side by the photograph's shorter side")
    whole: float = Field(0.2, ge=0, le=1, description="share of crops that show the whole photograph")
    pixel_share: float = Field(1.0, gt=0, le=1, description="share of a crop's cells in the loss of a step")
    paste: float = Field(0.0, ge=0, le=1, description="share of crops that get pasted objects")
    paste_from: tuple[str, ...] = Field((), description="sets with masks that cut objects out")
    paste_onto: tuple[str, ...] = Field((), description="sets with crops that get them")
    rivals: float = Field(0.0, ge=0, le=1, description="share of pasted objects that are like the crop")
    glosses: bool = Field(False, description="names with meanings, lone objects by wider words")
    subset_weight: float = Field(ge=0, description="weight of the loss of a random subset of the classes")
    presence_weight: float = Field(ge=0, description="weight of the loss of which classes a crop shows")
    dice_weight: float = Field(0.0, ge=0, description="weight of the Dice loss of masks")
    deep_weight: float = Field(0.0, ge=0, description="weight of the loss of all classes at stride 16")

    @model_validator(mode="before")
    @classmethod
    def _split_data(cls, values: Any) -> Any:
        """`data: {folder, licence}` is the folder, and which of its photographs are used."""
        if not isinstance(values, dict) or not isinstance(values.get("data"), dict):
            return values
        data = dict(values["data"])
        licence = data.pop("licence", "any")
        folder = data.pop("folder", cls.model_fields["data"].get_default())
        if data:
            raise ValueError(f"data has a folder and a licence, not {', '.join(data)}")
        return values | {"data": folder, "licences": licence}

    @model_validator(mode="after")
    def _begin_fairly(self) -> TinyRecipe:
        if self.licences == "fair" and self.start == "bundled":
            raise ValueError("data.licence=fair: the bundled weights saw other photographs; begin with start=scratch")
        return self


class MaskSet(StrictModel):
    """Share of a data set in the crops, and the meaning of its mask values."""

    share: float = Field(gt=0, description="share of the crops, beside those of the other sets")
    background_value: int | None = Field(None, ge=0, le=254, description="value whose components are no objects")
    whole: float = Field(0.0, ge=0, le=1, description="share of crops in which all other values are one")
    ignored: bool = Field(True, description="255 counts nowhere; false: it is outside of every object")
    splits: list[str] = Field(["train"], min_length=1, description="folders of the set that are used")
    frame_stride: int = Field(1, ge=1, description="one of so many photographs is used: frames of a video are alike")


class PromptsRecipe(RunRecipe):
    """Recipe of the prompt head; with the network below it and the data it determines the weights."""

    sets: dict[str, MaskSet] = Field(min_length=1, description="shares of sets, and what their mask values mean")
    base_weights: str = Field(description="`bundled` or a safetensors file: the network below the head")
    out: Path = Path("runs/tiny-prompts")
    single_point_prompts: int = Field(ge=1, description="single-point prompts for each crop")
    unambiguous_prompts: int = Field(ge=1, description="boxes, several points, or both, for each crop")
    corrected: int = Field(0, ge=0, description="`unambiguous_prompts` that correct a mask where it is wrong")
    start: str = Field(description="`bundled`, `scratch` or a safetensors file: the head to begin with")

    @model_validator(mode="after")
    def _correct_some(self) -> PromptsRecipe:
        if self.corrected >= self.unambiguous_prompts:
            most = self.unambiguous_prompts
            raise ValueError(f"corrected is {self.corrected}; it must be below unambiguous_prompts, {most}")
        return self


class DirectionsRecipe(RunRecipe):
    """Recipe of the directions of training's own words; with the network below it and the data it determines them."""

    sets: Weights = Field(min_length=1, description="each set's weight, times its size ** mixing")
    mixing: float = Field(ge=0, le=1, description="exponent of a set's size in its share")
    base_weights: str = Field(description="`bundled` or a safetensors file with its card")
    out: Path = Path("runs/tiny-directions")
    photographs: int = Field(ge=1, description="most photographs of a set")
    folds: int = Field(ge=2, description="parts of the photographs, each left out once")
    strength: float = Field(gt=0, le=1, description="length of the directions, relative to the learned ones")
    near: float = Field(ge=0, le=1, description="cosine from which a text shares in the direction of the nearest word")


class OwnRecipe(TinyRecipe):
    """Base of the recipes on a user's own pictures."""

    data: Path = Field(description="the pictures")
    models_dir: Path | None = Field(None, description="folder of the user's models")
    sets: Weights = Field(default_factory=lambda: {OWN: 1.0}, min_length=1)
    photographs: int | None = Field(
        None, ge=4, description="number of photographs, spread evenly over the folder; None: all"
    )
    held_out: float = Field(gt=0, lt=1, description="share for validation, if the folder has no val split")
    samples: int = Field(ge=0, description="number of pictures that compare before and after")
    names_weight: float = Field(0.0, ge=0, le=0, description="refused: these runs have other losses")
    keep_weight: float = Field(0.0, ge=0, le=0, description="refused: these runs have other losses")

    def find(self, name: str) -> catalogue.ModelFolder:
        """A model by its name or directory."""
        if (path := Path(name)).is_dir():
            return catalogue.ModelFolder(path, catalogue.read_card(path))
        return catalogue.find(name, self.models_dir)


class FinetuneRecipe(OwnRecipe):
    """Recipe of fine-tuning: a decoder and directions for the taught classes, on the frozen trunk."""

    data: Path = Field(description="the pictures: a folder, a zip or a tar")
    root: Path | None = Field(None, description="a folder above it, in which the set may name files")
    start: str = Field(description="name of a model, or a model directory")
    out: Path = Path("runs/finetune")
    trunk: Literal["frozen"] = Field("frozen", description="other words keep their bits")
    subset_weight: float = Field(0.0, ge=0, le=0, description="refused: words are not trained")
    presence_weight: float = Field(0.0, ge=0, le=0)
    deep_weight: float = Field(0.0, ge=0, le=0)
    sharding: Literal["none"] = Field("none", description="the folds take turns in a step")

    def start_folder(self) -> Path:
        """The model directory that tuning starts from. Raises RecipeError: the model belongs to another method."""
        folder, card = self.find(self.start)
        if card.method != METHOD:
            raise RecipeError(f"start={self.start}: expected a model of method {METHOD}, got one of {card.method}")
        return folder


class DistilRecipe(OwnRecipe):
    """Recipe of distillation: a student learns from another model's masks of photographs."""

    teacher: str = Field(description="name of a model, a model directory, or the address of a server")
    student: Literal["tiny"] = Field("tiny", description="method with the network to train")
    classes: tuple[str, ...] = Field((), description="classes that the teacher labels; empty: classes.json has them")
    start: str = "bundled"
    out: Path = Path("runs/distil")

    @property
    def by_address(self) -> bool:
        return re.search(r"://|:\d+$", self.teacher) is not None

    def local_teacher(self) -> catalogue.ModelFolder:
        """The teacher in this process. Raises TaskError: it has no task semantic."""
        model = self.find(self.teacher)
        if "semantic" not in model.card.tasks:
            tasks = ", ".join(model.card.tasks)
            raise TaskError(f"teacher={self.teacher} gives pixels no class and no score; it can: {tasks}")
        return model


class WordsTraining(Training[TinyRecipe]):
    recipe = TinyRecipe

    at = code_at(f"{HERE}.trainer", "TinyTrainer", f"{HERE}.publish:publish")

    def start(self, recipe: TinyRecipe) -> str:
        return _weights(recipe.start, PUBLISHED_TRUNK)

    def lacks(self, recipe: TinyRecipe) -> str | None:
        sets = [name for name in _unpacked(recipe) if name != SHAPES]
        return _without_data(recipe, sets, "{SET: 1.0}")

    def trainer(self, recipe: TinyRecipe) -> Run[TinyRecipe, Any, Any]:
        if SHAPES in recipe.sets and not (recipe.data / SHAPES).is_dir():
            write_drawn(recipe.data)
        return super().trainer(recipe)

    def rehearsal(self, recipe: TinyRecipe, folder: Path) -> Rehearsal:
        missing = _unpacked(recipe)
        if not missing:
            return super().rehearsal(recipe, folder)
        write_drawn(folder / "data")  # the time of a step does not depend on the photographs
        drawn = {"data": folder / "data", "sets": {SHAPES: 1.0}, "licences": "any", "paste": 0.0}
        places = {"packs": folder / "packs", "out": folder / "run"}
        before = f"{len(missing)} of {len(recipe.sets)} sets are first decoded into {recipe.packs}"
        return Rehearsal(self.trainer(recipe.model_copy(update=drawn | places)), before)


class PromptsTraining(Training[PromptsRecipe]):
    recipe = PromptsRecipe

    at = code_at(f"{HERE}.prompts.trainer", "PromptTrainer", f"{HERE}.publish:publish_prompts")

    def start(self, recipe: PromptsRecipe) -> str:
        head = _weights(recipe.start, "random weights")
        return f"a head of {head}, over {_weights(recipe.base_weights, '')}"

    def lacks(self, recipe: PromptsRecipe) -> str | None:
        return _without_data(recipe, list(recipe.sets), "{SET: {share: 1.0}}")


class DirectionsTraining(Training[DirectionsRecipe]):
    recipe = DirectionsRecipe

    at = code_at(f"{HERE}.directions.trainer", "DirectionsTrainer", f"{HERE}.publish:publish_directions")

    def start(self, recipe: DirectionsRecipe) -> str:
        return f"no directions, over {_weights(recipe.base_weights, '')}"

    def lacks(self, recipe: DirectionsRecipe) -> str | None:
        return _without_data(recipe, list(recipe.sets), "{SET: 1.0}")


class FinetuneTraining(Training[FinetuneRecipe]):
    recipe = FinetuneRecipe

    at = code_at(f"{HERE}.own.finetune", "FinetuneTrainer", "publish_finetuned")

    def start(self, recipe: FinetuneRecipe) -> str:
        return f"the weights of {recipe.start}"

    def lacks(self, recipe: FinetuneRecipe) -> str | None:
        if recipe.data.exists():
            return None
        from lexiseg_train.data.own.layouts import LAYOUT

        return f"there are no pictures at {recipe.data}; name yours with data=FOLDER or data=ZIP. In it is {LAYOUT}"


class DistilTraining(Training[DistilRecipe]):
    recipe = DistilRecipe

    at = (f"{HERE}.trainer:untrained", f"{HERE}.own.distil:DistilTrainer", f"{HERE}.own.distil:publish_distilled")

    def start(self, recipe: DistilRecipe) -> str:
        return f"{_weights(recipe.start, PUBLISHED_TRUNK)}, taught by {recipe.teacher}"

    def lacks(self, recipe: DistilRecipe) -> str | None:
        if not recipe.data.is_dir():
            return f"there are no photographs at {recipe.data}; name yours with data=FOLDER"
        if not recipe.by_address:
            recipe.local_teacher()
        return None

    def prepare(self, recipe: DistilRecipe, at_address: AtAddress) -> None:
        from lexiseg_train.training.processes import join, one_first

        join(recipe.device)
        with one_first():
            resolve_name(f"{HERE}.own.distil:label")(recipe, at_address)

    def rehearsal(self, recipe: DistilRecipe, folder: Path) -> Rehearsal:
        changes = {"sets": {SHAPES: 1.0}, "data": folder / "data", "start": recipe.start}
        rehearsal = WordsTraining().rehearsal(recipe.model_copy(update=changes), folder)
        return rehearsal._replace(before=f"{recipe.teacher} labels the photographs; measured on drawn ones")


TRAININGS: dict[str, Training[Any]] = {
    "tiny": WordsTraining(),
    "tiny-prompts": PromptsTraining(),
    "tiny-directions": DirectionsTraining(),
    "finetune": FinetuneTraining(),
    "distil": DistilTraining(),
}


def _weights(named: str, scratch: str) -> str:
    return {"bundled": "the bundled weights of tiny", "scratch": scratch}.get(named, named)


def _unpacked(recipe: TinyRecipe) -> list[str]:
    """The sets that are not decoded into packs yet; only these need the original data."""
    return [name for name in recipe.sets if not (recipe.packs / name).is_dir()]


def _without_data(recipe: RunRecipe, sets: list[str], example: str) -> str | None:
    missing = next((name for name in sets if not (recipe.data / name).is_dir()), None)
    if missing is None:
        return None
    return (
        f"there is no data at {recipe.data / missing if recipe.data.is_dir() else recipe.data}.\n"
        f"The recipe {recipe.recipe!r} reads {', '.join(sets)}; each set is a folder\n"
        "  SET/classes.json              the class names; index = mask value\n"
        "  SET/train/images/NAME.jpg     photographs\n"
        "  SET/train/masks/NAME.png      8-bit masks of the same size, 255 = ignore\n"
        f"Name yours with: lexiseg train {recipe.recipe} data=FOLDER sets='{example}'"
    )
