"""Trainings of `tiny`: the network without prompt head, the prompt head, fine-tuning and distillation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_model.data.drawn_shapes import DRAWN, write_drawn
from lexiseg_model.methods.tiny.training.recipe import DistilRecipe, FinetuneRecipe, PromptsRecipe, TinyRecipe
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.recipes.training import AtAddress, Rehearsal, Training

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.methods.tiny.training.prompts import PromptTrainer
    from lexiseg_model.methods.tiny.training.trainer import TinyTrainer
    from lexiseg_model.training.run import Run
    from lexiseg_model.types import ModelCard


class WordsTraining(Training[TinyRecipe]):
    """Training of the network without its prompt head."""

    recipe = TinyRecipe

    def start(self, recipe: TinyRecipe) -> str:
        return _weights(recipe.start, "random weights")

    def lacks(self, recipe: TinyRecipe) -> str | None:
        needed = [name for name in _unpacked(recipe, recipe.sets) if name != DRAWN]
        return _without_data(recipe, needed, "{SET: 1.0}")

    def network(self, recipe: TinyRecipe) -> nn.Module:
        from lexiseg_model.methods.tiny.network import TinyNetwork
        from lexiseg_model.methods.tiny.training.trainer import Trained

        return Trained(TinyNetwork(width=recipe.width))

    def trainer(self, recipe: TinyRecipe) -> TinyTrainer:
        from lexiseg_model.methods.tiny.training.trainer import TinyTrainer

        if DRAWN in recipe.sets and not (recipe.data / DRAWN).is_dir():
            write_drawn(recipe.data)
        return TinyTrainer(recipe)

    def rehearsal(self, recipe: TinyRecipe, folder: Path) -> Rehearsal:
        missing = _unpacked(recipe, recipe.sets)
        if not missing:
            return super().rehearsal(recipe, folder)
        write_drawn(folder / "data")  # the time of a step does not depend on the photographs
        drawn = {"data": folder / "data", "sets": {DRAWN: 1.0}, "paste": 0.0, "packs": folder / "packs", "texts": None}
        before = f"{len(missing)} of {len(recipe.sets)} sets are first decoded into {recipe.packs}"
        return Rehearsal(self.trainer(recipe.model_copy(update=drawn | {"out": folder / "run"})), before)

    def publish(self, recipe: TinyRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tiny.training.publish import publish

        return publish(recipe, weights)


class PromptsTraining(Training[PromptsRecipe]):
    """Training of the prompt head on features of a frozen network."""

    recipe = PromptsRecipe

    def start(self, recipe: PromptsRecipe) -> str:
        head = _weights(recipe.start, "random weights")
        return f"a head of {head}, over {_weights(recipe.below, '')}"

    def lacks(self, recipe: PromptsRecipe) -> str | None:
        return _without_data(recipe, list(recipe.sets), "{SET: {share: 1.0}}")

    def network(self, recipe: PromptsRecipe) -> nn.Module:
        from lexiseg_model.methods.tiny.prompt_head import PromptHead

        return PromptHead()

    def trainer(self, recipe: PromptsRecipe) -> PromptTrainer:
        from lexiseg_model.methods.tiny.training.prompts import PromptTrainer

        return PromptTrainer(recipe)

    def publish(self, recipe: PromptsRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tiny.training.publish import publish_prompts

        return publish_prompts(recipe, weights)


class FinetuneTraining(Training[FinetuneRecipe]):
    """Fine-tuning of the text projection on a user's own pictures."""

    recipe = FinetuneRecipe

    def start(self, recipe: FinetuneRecipe) -> str:
        return f"the weights of {recipe.start}"

    def lacks(self, recipe: FinetuneRecipe) -> str | None:
        if recipe.data.is_dir():
            return None
        from lexiseg_model.data.own.prepare import LAYOUT

        return f"there are no pictures at {recipe.data}; name yours with data=FOLDER. In it is {LAYOUT}"

    def network(self, recipe: FinetuneRecipe) -> nn.Module:
        from lexiseg_model.methods.tiny.network import TinyNetwork

        network = TinyNetwork().requires_grad_(False)
        network.text_projection.requires_grad_(True)
        return network

    def trainer(self, recipe: FinetuneRecipe) -> Run[Any, Any, Any]:
        from lexiseg_model.methods.tiny.training.finetune import FinetuneTrainer

        return FinetuneTrainer(recipe)

    def publish(self, recipe: FinetuneRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tiny.training.publish_finetuned import publish_finetuned

        return publish_finetuned(recipe, weights)


class DistilTraining(Training[DistilRecipe]):
    """Distillation: `tiny` learns from photographs that another model labels."""

    recipe = DistilRecipe

    def start(self, recipe: DistilRecipe) -> str:
        return f"{_weights(recipe.begin, 'random weights')}, taught by {recipe.teacher}"

    def lacks(self, recipe: DistilRecipe) -> str | None:
        if not recipe.data.is_dir():
            return f"there are no photographs at {recipe.data}; name yours with data=FOLDER"
        from lexiseg_model.methods.tiny.training.distil import teacher_card

        if not recipe.by_address:
            teacher_card(recipe)
        return None

    def prepare(self, recipe: DistilRecipe, at_address: AtAddress) -> None:
        from lexiseg_model.methods.tiny.training.distil import label
        from lexiseg_model.training.distributed import join, one_first

        join(recipe.device)
        with one_first():
            label(recipe, at_address)

    def network(self, recipe: DistilRecipe) -> nn.Module:
        return WordsTraining().network(recipe)

    def trainer(self, recipe: DistilRecipe) -> Run[Any, Any, Any]:
        from lexiseg_model.methods.tiny.training.distil import DistilTrainer

        return DistilTrainer(recipe)

    def rehearsal(self, recipe: DistilRecipe, folder: Path) -> Rehearsal:
        drawn = {"sets": {DRAWN: 1.0}, "data": folder / "data", "start": recipe.begin}
        rehearsal = WordsTraining().rehearsal(recipe.model_copy(update=drawn), folder)
        return rehearsal._replace(before=f"{recipe.teacher} labels the photographs; measured on drawn ones")

    def publish(self, recipe: DistilRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tiny.training.distil import publish_distilled

        return publish_distilled(recipe, weights)


TRAININGS: dict[str, Training[Any]] = {
    "tiny": WordsTraining(),
    "tiny-prompts": PromptsTraining(),
    "finetune": FinetuneTraining(),
    "distil": DistilTraining(),
}


def _weights(named: str, scratch: str) -> str:
    """The description of a value of `start` or `below` for messages."""
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
