"""Write a model directory from the checkpoint of a run, through the import of the authors' layout."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.methods.tcl.import_ import Options, read
from lexiseg_model.methods.tcl.training.recipe import TclRecipe
from lexiseg_model.methods.tcl.training.trainer import BEST_OFFICIAL, OFFICIAL, TEST_BY_TRAINING
from lexiseg_model.training.publishing import lineage, origin, with_terms, write_card
from lexiseg_model.types import InputSize, ModelCard

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
            "training_data": [
                *(with_terms("image-text pairs", recipe.place(name)) for name in recipe.pairs),
                f"those of CLIP: {recipe.clip.name}",
            ],
            "lineage": lineage(
                recipe,
                f"a random grounder over {recipe.clip.name}, {recipe.architecture}, whose last block learned from step "
                f"{recipe.grounder_steps}",
            ),
            "input": InputSize(short_side=side, long_side=max(2048, side), multiple=PATCH),
            "settings": card.settings | {"window": side, "stride": side // 2},
        }
    )
    write_card(card, folder)
    return card
