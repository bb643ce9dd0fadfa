"""Write a model directory from a trained student."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import BACKGROUND, read_dataset
from lexiseg_model.methods.s_seg_plus.training.recipe import StudentRecipe, settings_for
from lexiseg_model.training.publishing import lineage, measure_quality, origin, with_terms, write_card
from lexiseg_model.types import BackgroundRule, InputSize, ModelCard

LIMITS = [
    "Knows the classes that it was taught and no others: any other word is found nowhere, and the answer warns of it.",
    "Its labels were another model's guesses, whose mistakes it may repeat.",
]


def publish(recipe: StudentRecipe, weights: Path) -> ModelCard:
    """Writes `card.yaml` beside the weights; measures the val splits of `recipe.judged`."""
    settings = settings_for(recipe, [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets])
    side = recipe.phases[-1].crop
    named = [name for name in settings.classes if name != BACKGROUND]
    start = "random weights" if recipe.start is None else f"a transformer of {recipe.start.name}"
    card = ModelCard.model_validate(
        origin(recipe, weights)
        | {
            "method": "s_seg_plus",
            "summary": f"S-Seg+: {settings.backbone} with UperNet, taught {len(named)} classes by a model's labels.",
            "tasks": ["semantic", "instance", "panoptic"],
            "training_data": [with_terms("labels by a model", recipe.data / name) for name in recipe.sets],
            "lineage": lineage(recipe, start),
            "input": InputSize(short_side=side, long_side=max(2048, side), multiple=32),
            "embedding": len(settings.classes),
            "text_tower": "none: a class is asked for by its name",
            # What was taught and is not asked for competes all the same.
            "background": BackgroundRule(words=named, same_meaning=0.99),
            "refinements": ["none"],
            "settings": settings.model_dump(mode="json"),
            "limits": LIMITS,
        }
    )
    write_card(card, weights.parent)
    if recipe.judged:
        segmenter = catalogue.load_folder(weights.parent, recipe.device)
        truth = recipe.truth or recipe.data
        quality = measure_quality(segmenter, (read_dataset(truth, name, "val") for name in recipe.judged))
        card = card.model_copy(update={"quality": quality})
        write_card(card, weights.parent)
    return card
