"""Write a model directory: a trained pair of towers under an attention policy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors.torch import save_file

from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.towers import configuration
from lexiseg_model.methods.dense_clip.import_ import Options, read
from lexiseg_model.methods.dense_clip.training.recipe import ClipRecipe
from lexiseg_model.training.publishing import lineage, origin, with_terms, write_card
from lexiseg_model.types import ModelCard


def publish_pair(recipe: ClipRecipe, weights: Path) -> ModelCard | None:
    """Writes `weights.safetensors` and `card.yaml` beside the towers, `weights`.

    None where the image tower is timm's, such as a ConvNeXt: `dense-clip` opens plain transformers alone.
    """
    if "timm_model_name" in configuration(recipe.architecture)["vision_cfg"]:
        return None
    activation: Literal["quickgelu", "gelu"] = "quickgelu" if recipe.quick_gelu else "gelu"
    card, state = read(Options(clip=(weights,), architecture=recipe.architecture, activation=activation))
    save_file({name: value.contiguous() for name, value in state.items()}, weights.parent / WEIGHTS)
    card = card.model_copy(
        update=origin(recipe, weights.parent / WEIGHTS)
        | {
            "training_data": [with_terms("image-text pairs", recipe.place(name)) for name in recipe.pairs],
            "lineage": lineage(recipe, "random weights"),
        }
    )
    write_card(card, weights.parent)
    return card
