"""Write a model directory from trained CLIP-DINOiser heads: CLIP below, with the policy that uses them."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from lexiseg_model.catalogue.importing import own_card
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.methods.dense_clip.dinoiser import heads_from_state
from lexiseg_model.methods.dense_clip.settings import card_settings
from lexiseg_model.methods.dense_clip.stored import flat_state
from lexiseg_model.methods.dense_clip.training.dinoiser_trainer import clip_of
from lexiseg_model.methods.dense_clip.training.recipe import DinoiserRecipe
from lexiseg_model.training.publishing import lineage, origin, with_terms, write_card
from lexiseg_model.types import ModelCard


def publish(recipe: DinoiserRecipe, weights: Path) -> ModelCard:
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
