"""Model directories of trained weights, written through the import, with a card of the run."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model import catalogue
from lexiseg_model.methods.unpair_seg.import_ import Options, read
from lexiseg_model.methods.unpair_seg.training import AlignRecipe, MasksRecipe
from lexiseg_model.training.publishing import measure_prompts, with_terms, write_model
from lexiseg_model.types import InputSize, ModelCard


def publish_masks(recipe: MasksRecipe, weights: Path) -> ModelCard:
    """Write a model directory beside the file of stage one, with the quality on the sets of `recipe.judged`."""
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    folder, side = weights.parent, recipe.phases[-1].crop
    clip = ", ".join(path.name for path in recipe.clip) or f"{recipe.architecture} ({recipe.clip_tag})"
    masks = [with_terms("masks", recipe.data / name) for name in recipe.sets]
    changes = {
        "training_data": [*masks, f"those of CLIP: {clip}"],
        "input": InputSize(short_side=side, long_side=side, multiple=32),
    }
    card = write_model(imported, folder, recipe, f"random weights over {clip}", changes)
    if recipe.judged:
        segmenter = catalogue.load_folder(folder, recipe.device)
        quality = {name: measure_prompts(segmenter, recipe.data, name, n) for name, n in recipe.judged.items()}
        card = card.model_copy(update={"prompt_quality": quality})
        catalogue.write_card(card, folder)
    return card


def publish_aligned(recipe: AlignRecipe, weights: Path) -> ModelCard:
    """Write a model directory of both stages."""
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    side, stage_one = recipe.phases[-1].crop, recipe.stage_one.name
    pairs = [with_terms("captioned photographs", recipe.place(name)) for name in recipe.pairs]
    changes = {
        "training_data": [*pairs, f"that of stage one: {stage_one}"],
        "input": InputSize(short_side=side, long_side=side, multiple=32),
        "settings": imported.card.settings | {"proposals": recipe.proposals.model_dump(mode="json")},
    }
    return write_model(imported, weights.parent, recipe, f"stage one, {stage_one}", changes)
