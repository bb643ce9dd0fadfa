"""Model directories of trained weights, with a card of the run."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.methods.s_seg.import_ import Options, read
from lexiseg_model.methods.s_seg.training.recipe import SSegRecipe
from lexiseg_model.methods.s_seg.training.thresholds import miou_by_threshold
from lexiseg_model.training.publishing import measure_quality, origin, pairs_with_terms
from lexiseg_model.types import InputSize, ModelCard

TEST_BY_TRAINING = 2  # ratio of image sides in inference and training: GroupViT's 448 and 224


def publish(recipe: SSegRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` beside the weights, with a threshold fitted to `recipe.thresholds` and the mIoU on them."""
    card = read(Options(checkpoint=weights, backbone=recipe.network.backbone)).card
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    start = "random weights" if recipe.backbone is None else f"a backbone of {recipe.backbone.name}"
    tower = recipe.masks.tower if recipe.tower is None else recipe.tower.name
    card = card.model_copy(
        update=origin(recipe, weights, start)
        | {
            "training_data": [*pairs_with_terms(recipe), f"pseudo-masks of {tower}"],
            "input": InputSize(short_side=side, long_side=max(2048, side), multiple=32),
            "settings": card.settings | recipe.network.model_dump(mode="json") | {"drop_path": None, "dropout": 0.0},
        }
    )
    catalogue.write_card(card, weights.parent)
    if recipe.thresholds:
        card = _with_threshold(card, recipe, weights.parent)
        catalogue.write_card(card, weights.parent)
    return card


def _with_threshold(card: ModelCard, recipe: SSegRecipe, folder: Path) -> ModelCard:
    segmenter = catalogue.load_folder(folder, recipe.device)
    train = [read_dataset(recipe.data, name, "train") for name in recipe.thresholds]
    by_threshold = miou_by_threshold(segmenter, train, recipe.photographs)
    best = max(by_threshold, key=lambda threshold: by_threshold[threshold])
    print(f"threshold {best}: mIoU {by_threshold[best]:.2f} % on train splits", flush=True)
    card = card.model_copy(update={"settings": card.settings | {"background": best}})
    catalogue.write_card(card, folder)
    segmenter = catalogue.load_folder(folder, recipe.device)
    measured = [name for name in recipe.thresholds if (recipe.data / name / "val").is_dir()]
    quality = measure_quality(segmenter, (read_dataset(recipe.data, name, "val") for name in measured))
    return card.model_copy(update={"quality": quality})
