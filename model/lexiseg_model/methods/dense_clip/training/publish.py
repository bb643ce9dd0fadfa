"""Write a model directory: a trained pair of towers under an attention policy, or CLIP with CLIP-DINOiser's heads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors.torch import save_file

from lexiseg_model.catalogue.importing import own_card
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.towers import configuration
from lexiseg_model.methods.dense_clip.dinoiser import heads_from_state
from lexiseg_model.methods.dense_clip.import_ import Options, read
from lexiseg_model.methods.dense_clip.settings import card_settings
from lexiseg_model.methods.dense_clip.stored import flat_state
from lexiseg_model.methods.dense_clip.training.dinoiser_trainer import clip_of
from lexiseg_model.methods.dense_clip.training.recipe import ClipRecipe, DinoiserRecipe
from lexiseg_model.training.publishing import lineage, origin, with_terms, write_card
from lexiseg_model.types import ModelCard


def publish_heads(recipe: DinoiserRecipe, weights: Path) -> ModelCard:
    """Writes `weights.safetensors`, CLIP in it, and `card.yaml` beside the heads, `weights`."""
    towers, heads = clip_of(recipe), heads_from_state(read_tensors(weights), recipe.least_correlation)
    state = flat_state(towers, None, heads)
    save_file({name: value.contiguous() for name, value in state.items()}, weights.parent / WEIGHTS)
    card = own_card("dense_clip")
    changes = card_settings(card, "clip_dinoiser", towers.architecture, towers.quick_gelu)
    changes["settings"]["least_correlation"] = recipe.least_correlation
    below = recipe.pretrained if recipe.clip is None else recipe.clip.name
    teacher = recipe.teacher if recipe.tower is None else recipe.tower.name
    card = card.model_copy(
        update=changes
        | origin(recipe, weights.parent / WEIGHTS)
        | {
            "summary": f"CLIP-DINOiser: {towers.architecture} with two heads that a DINO tower taught.",
            "training_data": [
                with_terms(f"{recipe.most} photographs without labels", recipe.data / recipe.photographs),
                f"that of CLIP: {below}",
            ],
            "lineage": lineage(recipe, f"random heads over {below}, taught by {teacher}, objects by FOUND"),
        }
    )
    write_card(card, weights.parent)
    return card


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
            "training_data": [with_terms("image-text pairs", recipe.data / path) for path in recipe.pairs],
            "lineage": lineage(recipe, "random weights"),
        }
    )
    write_card(card, weights.parent)
    return card
