"""Model directories of trained weights: a background threshold chosen by mIoU, and a card of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.s_seg.import_ import Options, read
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, InputSize, ModelCard, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.methods.s_seg.recipe import SSegRecipe
from lexiseg_train.training.model_card import measure_quality, origin_fields, pairs_entries

TEST_BY_TRAINING = 2  # ratio of image sides in inference and training: GroupViT's 448 and 224
THRESHOLDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # GroupViT's 0.35 and 0.95 among them


def publish(recipe: SSegRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to the weights, with a threshold fitted to `recipe.thresholds` and the mIoU on them."""
    card = read(Options(checkpoint=weights, backbone=recipe.network.backbone)).card
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    start = "random weights" if recipe.backbone is None else f"a backbone of {recipe.backbone.name}"
    tower = recipe.masks.tower if recipe.tower is None else recipe.tower.name
    card = card.model_copy(
        update=origin_fields(recipe, weights, start)
        | {
            "training_data": [*pairs_entries(recipe), f"pseudo-masks of {tower}"],
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


def miou_by_threshold(segmenter: Segmenter, datasets: Sequence[IndexedDataset], photographs: int) -> dict[float, float]:
    """Mean mIoU in percent over data sets for each background threshold; the background counts as a class.

    Args:
        segmenter: the model; each photograph is encoded once.
        datasets: train splits with a background.
        photographs: number of evenly spread photographs of each set.

    Raises:
        DatasetError: a set has no background.
    """
    for data in datasets:
        if not data.has_background:
            raise DatasetError(f"{data.name} has no class {BACKGROUND!r}; no threshold can be chosen on it")
    by_set = np.array([_by_threshold(segmenter, data, photographs) for data in datasets])  # [sets, thresholds]
    return dict(zip(THRESHOLDS, by_set.mean(0).tolist(), strict=True))


def _by_threshold(segmenter: Segmenter, data: IndexedDataset, photographs: int) -> list[float]:
    classes = tuple(ClassEntry(name) for name in data.classes[1:])
    value_of = np.append(np.arange(1, len(data.classes)), 0)  # mask value of each row of the scores; last: background
    rows_of = KnownRows(segmenter)
    counts = np.zeros((len(THRESHOLDS), 3, len(data.classes)), np.int64)
    for sample in data.samples[:: max(1, len(data.samples) // photographs)][:photographs]:
        features = segmenter.encode(sample.read_image())
        truth = sample.read_mask()
        for index, threshold in enumerate(THRESHOLDS):
            vocabulary = Vocabulary(classes, Background(threshold=threshold))
            labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of), features.size).labels
            counts[index] += count(truth, value_of[labels], len(data.classes))
    return [scores(each).miou for each in counts]
