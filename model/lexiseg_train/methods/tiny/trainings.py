"""Trainings of `tiny`: network without prompt head, prompt head, directions of words, fine-tuning, distillation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_train.data.drawn_shapes import SHAPES, write_drawn
from lexiseg_train.methods.tiny.recipe import (
    PUBLISHED_TRUNK,
    DirectionsRecipe,
    DistilRecipe,
    FinetuneRecipe,
    PromptsRecipe,
    TinyRecipe,
)
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.training import AtAddress, Code, Rehearsal, Training

if TYPE_CHECKING:
    from lexiseg_train.training.run import Run


class WordsTraining(Training[TinyRecipe]):
    """Training of the network without its prompt head."""

    recipe = TinyRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tiny import publish, trainer

        return Code(trainer.untrained, trainer.TinyTrainer, publish.publish)

    def start(self, recipe: TinyRecipe) -> str:
        return _weights(recipe.start, PUBLISHED_TRUNK)

    def lacks(self, recipe: TinyRecipe) -> str | None:
        sets = [name for name in _unpacked(recipe, recipe.sets) if name != SHAPES]
        return _without_data(recipe, sets, "{SET: 1.0}")

    def trainer(self, recipe: TinyRecipe) -> Run[TinyRecipe, Any, Any]:
        if SHAPES in recipe.sets and not (recipe.data / SHAPES).is_dir():
            write_drawn(recipe.data)
        return super().trainer(recipe)

    def rehearsal(self, recipe: TinyRecipe, folder: Path) -> Rehearsal:
        missing = _unpacked(recipe, recipe.sets)
        if not missing:
            return super().rehearsal(recipe, folder)
        write_drawn(folder / "data")  # the time of a step does not depend on the photographs
        changes = {"data": folder / "data", "sets": {SHAPES: 1.0}, "paste": 0.0, "packs": folder / "packs"}
        before = f"{len(missing)} of {len(recipe.sets)} sets are first decoded into {recipe.packs}"
        return Rehearsal(self.trainer(recipe.model_copy(update=changes | {"out": folder / "run"})), before)


class PromptsTraining(Training[PromptsRecipe]):
    """Training of the prompt head on features of a frozen network."""

    recipe = PromptsRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tiny import publish
        from lexiseg_train.methods.tiny.prompts import trainer as prompts

        return Code(prompts.untrained, prompts.PromptTrainer, publish.publish_prompts)

    def start(self, recipe: PromptsRecipe) -> str:
        head = _weights(recipe.start, "random weights")
        return f"a head of {head}, over {_weights(recipe.base_weights, '')}"

    def lacks(self, recipe: PromptsRecipe) -> str | None:
        return _without_data(recipe, list(recipe.sets), "{SET: {share: 1.0}}")


class DirectionsTraining(Training[DirectionsRecipe]):
    """Training of the directions of training's own words, on embeddings of a frozen network."""

    recipe = DirectionsRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tiny import publish
        from lexiseg_train.methods.tiny.directions import trainer

        return Code(trainer.untrained, trainer.DirectionsTrainer, publish.publish_directions)

    def start(self, recipe: DirectionsRecipe) -> str:
        return f"no directions, over {_weights(recipe.base_weights, '')}"

    def lacks(self, recipe: DirectionsRecipe) -> str | None:
        return _without_data(recipe, list(recipe.sets), "{SET: 1.0}")


class FinetuneTraining(Training[FinetuneRecipe]):
    """Fine-tuning on a user's own pictures."""

    recipe = FinetuneRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tiny.own import finetune
        from lexiseg_train.methods.tiny.own import publish as publish_finetuned

        return Code(finetune.untrained, finetune.FinetuneTrainer, publish_finetuned.publish_finetuned)

    def start(self, recipe: FinetuneRecipe) -> str:
        return f"the weights of {recipe.start}"

    def lacks(self, recipe: FinetuneRecipe) -> str | None:
        if recipe.data.exists():
            return None
        from lexiseg_train.data.own.layouts import LAYOUT

        return f"there are no pictures at {recipe.data}; name yours with data=FOLDER or data=ZIP. In it is {LAYOUT}"


class DistilTraining(Training[DistilRecipe]):
    """Distillation: `tiny` learns from photographs that another model labels."""

    recipe = DistilRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tiny import trainer
        from lexiseg_train.methods.tiny.own import distil

        return Code(trainer.untrained, distil.DistilTrainer, distil.publish_distilled)

    def start(self, recipe: DistilRecipe) -> str:
        return f"{_weights(recipe.start, PUBLISHED_TRUNK)}, taught by {recipe.teacher}"

    def lacks(self, recipe: DistilRecipe) -> str | None:
        if not recipe.data.is_dir():
            return f"there are no photographs at {recipe.data}; name yours with data=FOLDER"
        from lexiseg_train.methods.tiny.own.distil import teacher_card

        if not recipe.by_address:
            teacher_card(recipe)
        return None

    def prepare(self, recipe: DistilRecipe, at_address: AtAddress) -> None:
        from lexiseg_train.methods.tiny.own.distil import label
        from lexiseg_train.training.processes import join, one_first

        join(recipe.device)
        with one_first():
            label(recipe, at_address)

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


def _unpacked(recipe: TinyRecipe, sets: dict[str, Any]) -> list[str]:
    """The sets that are not decoded into packs yet; only these need the original data."""
    return [name for name in sets if not (recipe.packs / name).is_dir()]


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
