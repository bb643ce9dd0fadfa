"""From weights tuned on a user's pictures to a model directory, with what tuning changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lexiseg_model import catalog
from lexiseg_model.data.indexed import BACKGROUND, read_dataset
from lexiseg_model.evaluation.before_after import compare, write_samples
from lexiseg_model.evaluation.run import Report
from lexiseg_model.methods.tiny.settings import SynonymRule
from lexiseg_model.methods.tiny.training.calibrate import calibrate
from lexiseg_model.methods.tiny.training.familiar_words import write as write_words
from lexiseg_model.methods.tiny.training.finetune import LAID_OUT, start_folder
from lexiseg_model.methods.tiny.training.publish import started_from
from lexiseg_model.methods.tiny.training.recipe import OWN, TEXTS, FinetuneRecipe
from lexiseg_model.methods.tiny.training.texts import TextBook
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import read_familiar, write_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.training.publishing import lineage, origin, with_terms, write_card
from lexiseg_model.types import ModelCard, Quality

SAMPLES, COMPARED = "samples", "before-after.json"
LIMIT = "Tuned on a few photographs: other words were held near where they were, and not measured again."


def publish_finetuned(recipe: FinetuneRecipe, weights: Path) -> ModelCard:
    """Writes the card, the words, `before-after.json` and `samples/`; prints a table of before and after.

    The image tower and the prompt head are those of the start, bit by bit: so is what its card says of prompts. The
    background rule is calibrated anew on the photographs that were learned from, where they have a background.
    """
    folder, start = weights.parent, start_folder(recipe)
    root = recipe.out / LAID_OUT
    train, held_out = (read_dataset(root, OWN, part) for part in ("train", "val"))
    below = catalog.read_card(start)
    begun, before = started_from(start / weights.name)
    card = below.model_copy(
        update=origin(recipe, weights)
        | {
            "summary": f"{below.name}, tuned on pictures of {', '.join(_named(train.classes))}.",
            "training_data": [*before, with_terms(f"{len(train.samples)} photographs", recipe.data)],
            "lineage": lineage(recipe, begun),
            "prompt_quality": below.prompt_quality,
            "settings": _with_own_words(below.settings, train.classes),
            "limits": [LIMIT, *(limit for limit in below.limits if limit != LIMIT)],
        }
    )
    _write_words(folder, start, train.classes)
    write_card(card, folder)
    if train.has_background:
        segmenter = catalog.load_folder(folder, recipe.device)
        rule = calibrate(segmenter, [train], TextBook.read(TEXTS).rare, recipe.seed).rule
        card = card.model_copy(update={"background": rule})
        write_card(card, folder)
    old, new = (catalog.load_folder(place, recipe.device) for place in (start, folder))
    compared = compare(old, new, held_out)
    print(f"on {len(held_out.samples)} photographs held out, in percent:\n{compared.table()}", flush=True)
    both = {"before": compared.before.to_json(), "after": compared.after.to_json()}
    (folder / COMPARED).write_text(json.dumps(both, indent=1, ensure_ascii=False))
    if recipe.samples:
        write_samples(old, new, held_out, recipe.samples, folder / SAMPLES)
        print(f"truth, before and after: {folder / SAMPLES}", flush=True)
    card = card.model_copy(update={"quality": {recipe.data.name: _quality(compared.after)}})
    write_card(card, folder)
    return card


def _quality(report: Report) -> Quality:
    scores = report.scores
    return Quality(miou=round(scores.miou, 2), pixel_accuracy=round(scores.pixel_accuracy, 2), images=report.images)


def _named(classes: tuple[str, ...]) -> list[str]:
    return [name for name in classes if name != BACKGROUND]


def _with_own_words(settings: dict[str, Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Settings of a card, by which no class that was tuned counts as another word's synonym any more."""
    if "synonyms" not in settings:
        return settings
    rule = SynonymRule.model_validate(settings["synonyms"]).without([name.lower() for name in classes])
    return settings | {"synonyms": rule.model_dump()}


def _write_words(folder: Path, start: Path, classes: tuple[str, ...]) -> None:
    """The words of the start and the classes: what is a guess, and what is not. The bound stays that of the start."""
    tower, synonyms = load_text_tower(), TextBook.read(TEXTS).synonyms
    before = read_familiar(start, tower.digest)
    if before is None:
        write_words(folder, classes, synonyms, tower)
        return
    asked = dict.fromkeys(word for name in _named(classes) for word in (name, *synonyms.get(name, [])))
    fresh = [word for word in asked if word not in before.words]
    rows = [before.rows, *([tower.encode([TEMPLATE.format(word) for word in fresh])] if fresh else [])]
    write_familiar(folder, [*before.words, *fresh], np.concatenate(rows), before.bound, tower.digest, before.foreign)
