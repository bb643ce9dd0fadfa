"""From the authors' file that training writes to a model directory that serves: the way of every import."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from lexiseg_model.methods.tcl.import_ import Options, read
from lexiseg_model.methods.tcl.training.recipe import TclRecipe
from lexiseg_model.methods.tcl.training.trainer import BEST_OFFICIAL, OFFICIAL
from lexiseg_model.methods.tcl.training.validate import TEST_BY_TRAINING
from lexiseg_model.training.publishing import origin, write_card
from lexiseg_model.types import InputSize, ModelCard
from lexiseg_model.weights import WEIGHTS

PATCH = 16


def publish(recipe: TclRecipe, weights: Path) -> ModelCard:
    """Writes `weights.safetensors`, the towers in it, and `card.yaml` beside the `weights` of a training run."""
    folder = weights.parent
    card, state = read(
        Options(
            checkpoint=folder / (OFFICIAL if recipe.best_by is None else BEST_OFFICIAL),
            clip=(recipe.clip,),
            architecture=recipe.architecture,
        )
    )
    save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    card = card.model_copy(
        update=origin(recipe, folder / WEIGHTS)
        | {
            "licence": "that of the photographs and captions it was trained on, and of the CLIP below",
            "training_data": [f"image-text pairs of {recipe.data / path}" for path in recipe.pairs],
            "lineage": (
                f"{recipe.steps} steps of {recipe.phases[-1].batch} pairs a process over {recipe.clip.name}, "
                f"{recipe.architecture}; CLIP's last block learned, too, from step {recipe.grounder_steps}."
            ),
            "input": InputSize(short_side=side, long_side=max(2048, side), multiple=PATCH),
            "settings": card.settings | {"window": side, "stride": side // 2},
        }
    )
    write_card(card, folder)
    return card
