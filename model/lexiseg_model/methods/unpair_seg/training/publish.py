"""Write a model directory from trained weights, as an import does, with a card of the run."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from lexiseg_model import catalogue
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.methods.unpair_seg.import_ import Options, read
from lexiseg_model.methods.unpair_seg.training.alignment import say_naming
from lexiseg_model.methods.unpair_seg.training.recipe import AlignRecipe, MasksRecipe
from lexiseg_model.training.publishing import lineage, measure_prompts, origin, with_terms, write_card
from lexiseg_model.types import InputSize, ModelCard


def publish_masks(recipe: MasksRecipe, weights: Path) -> ModelCard:
    """Writes `weights.safetensors` and `card.yaml` beside the file of stage one; asks the sets of `recipe.judged`."""
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    folder, side = weights.parent, recipe.phases[-1].crop
    save_file({name: value.contiguous() for name, value in imported.state.items()}, folder / WEIGHTS)
    clip = ", ".join(path.name for path in recipe.clip) or f"{recipe.architecture} ({recipe.clip_tag})"
    card = imported.card.model_copy(
        update=origin(recipe, folder / WEIGHTS)
        | {
            "training_data": [
                *(with_terms("masks", recipe.data / name) for name in recipe.sets),
                f"those of CLIP: {clip}",
            ],
            "lineage": lineage(recipe, f"random weights over {clip}"),
            "input": InputSize(short_side=side, long_side=side, multiple=32),
            "prompt_quality": {},
        }
    )
    write_card(card, folder)
    if recipe.judged:
        segmenter = catalogue.load_folder(folder, recipe.device)
        quality = {name: measure_prompts(segmenter, recipe.data, name, n) for name, n in recipe.judged.items()}
        card = card.model_copy(update={"prompt_quality": quality})
        write_card(card, folder)
    return card


def publish_aligned(recipe: AlignRecipe, weights: Path) -> ModelCard:
    """Writes `card.yaml` beside the weights of both stages; names the objects of the sets of `recipe.judged`."""
    card = write_aligned(recipe, weights)
    segmenter = catalogue.load_folder(weights.parent, recipe.device)
    for name, photographs in recipe.judged.items():
        say_naming(segmenter, recipe.data, name, photographs)
    return card


def write_aligned(recipe: AlignRecipe, weights: Path) -> ModelCard:
    """The model directory alone."""
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    folder, side = weights.parent, recipe.phases[-1].crop
    save_file({name: value.contiguous() for name, value in imported.state.items()}, folder / WEIGHTS)
    card = imported.card.model_copy(
        update=origin(recipe, folder / WEIGHTS)
        | {
            "training_data": [
                *(with_terms("captioned photographs", recipe.place(name)) for name in recipe.pairs),
                f"that of stage one: {recipe.stage_one.name}",
            ],
            "lineage": lineage(recipe, f"stage one, {recipe.stage_one.name}"),
            "input": InputSize(short_side=side, long_side=side, multiple=32),
            "settings": imported.card.settings | {"proposals": recipe.proposals.model_dump(mode="json")},
        }
    )
    write_card(card, folder)
    return card
