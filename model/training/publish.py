"""From trained weights to a model directory that serves: calibrated background rule, measured quality, card."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import yaml

from model import catalog
from model.data.indexed import IndexedDataset, read_dataset
from model.evaluation.run import evaluate
from model.methods.tiny.weights import FOLDER as BUNDLED
from model.training.calibrate import calibrate
from model.training.recipe import FOLDER, TinyRecipe
from model.training.texts import TextBook
from model.types import ModelCard, Quality


def publish(recipe: TinyRecipe, weights: Path) -> ModelCard:
    """Writes `card.yaml` beside the weights: `LEXISEG_MODELS_DIR` may name the folder above.

    The words of the background rule, the input size and the texts come from the bundled card; the calibration is
    chosen on the training photographs, the quality measured on the `val` splits that exist.
    """
    bundled = catalog.read_card(BUNDLED)
    card = bundled.model_copy(
        update={
            "name": weights.parent.name,
            "commit": _commit(),
            "seed": recipe.seed,
            "training_data": [f"{name} ({recipe.data / name})" for name in recipe.sets],
            "quality": {},
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }
    )
    _write(card, weights.parent)
    segmenter = catalog.load_folder(weights.parent, recipe.device)
    train = [read_dataset(recipe.data, name, "train") for name in recipe.sets]
    foreign = TextBook.read(FOLDER / "tiny_texts.yaml").rare
    found = calibrate(segmenter, train, foreign, recipe.seed)
    print(
        f"background rule: offset {found.rule.offset}, margin {found.rule.margin}; a lone class that is there has "
        f"IoU {100 * found.present_iou:.1f} %, one that is not paints {100 * found.absent_paint:.2f} %",
        flush=True,
    )
    card = card.model_copy(update={"background": found.rule})
    _write(card, weights.parent)
    segmenter = catalog.load_folder(weights.parent, recipe.device)
    quality = {}
    for data in _validation_splits(recipe):
        scores = evaluate(segmenter, data).scores
        quality[data.name] = Quality(
            miou=round(scores.miou, 2), pixel_accuracy=round(scores.pixel_accuracy, 2), images=len(data.samples)
        )
        print(f"{data.name}: mIoU {scores.miou:.2f} %, pixel accuracy {scores.pixel_accuracy:.2f} %", flush=True)
    card = card.model_copy(update={"quality": quality})
    _write(card, weights.parent)
    return card


def _validation_splits(recipe: TinyRecipe) -> list[IndexedDataset]:
    return [read_dataset(recipe.data, name, "val") for name in recipe.sets if (recipe.data / name / "val").is_dir()]


def _write(card: ModelCard, folder: Path) -> None:
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
    (folder / catalog.CARD).write_text(text)


def _commit() -> str:
    """The commit of the code that trains, or "unknown" outside a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
