"""Publish weights that were fine-tuned on a user's pictures: model directory, card, and figures before and after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.export.choose import find
from lexiseg_model.export.manifest import FOLDER as GRAPHS
from lexiseg_model.export.manifest import MANIFEST, RANGES
from lexiseg_model.methods.tiny.network import TEXT_PROJECTION
from lexiseg_model.methods.tiny.weights import FILE, TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.methods.tiny.words.familiar import read_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ModelCard, ScoreRule
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.before_after import BeforeAfter, counts_of, write_samples
from lexiseg_train.methods.tiny.confidence import RIDGE_OF_START, fit, gather, joined
from lexiseg_train.methods.tiny.own.finetune import (
    DATASET_FOLDER,
    PROJECTIONS,
    count_folds,
    folds,
    read_groups,
    start_folder,
)
from lexiseg_train.methods.tiny.publish import started_from
from lexiseg_train.methods.tiny.recipe import OWN, FinetuneRecipe
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, write_familiar, write_words
from lexiseg_train.training.model_card import data_entry, lineage, origin_fields, quality_of

SAMPLES, COMPARED = "samples", "before-after.json"
STEPS = (0.25, 0.5, 0.75, 1.0)
LIMIT = "Tuned on a few photographs: other words were held near where they were, and not measured again."


def publish_finetuned(recipe: FinetuneRecipe, weights: Path) -> ModelCard:
    """Write the card, the words, `before-after.json` and `samples/`; print a table of before and after.

    The image tower and the prompt head are unchanged, so the prompt figures of the card are, too. If no step gains on
    left-out photographs, the text projection, the settings and the words are those of the start as well.
    """
    folder, start = weights.parent, start_folder(recipe)
    data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "train")
    projections = load_file(folder / PROJECTIONS)["projections"]
    with TemporaryDirectory() as place:
        trial = Trial(Path(place), start, data.classes, recipe.device)
        step, compared = cross_validate(trial, projections, data, recipe)
        rule = fit_rule(trial, projections, step, data, recipe) if step else trial.card.score
        trial.write(projections[-1], step)
        if step:
            print(f"step {step:g} from the start (0) to the trained weights (1), by cross-validation", flush=True)
        else:
            change = compared.change
            print(
                f"no gain on left-out photographs (mIoU {change.difference:+.1f} at best, 95 % "
                f"{change.low:+.1f} to {change.high:+.1f}): the model is the one that tuning started from",
                flush=True,
            )
        for file in (weights.name, FAMILIAR):
            if (trial.folder / file).is_file():
                shutil.copyfile(trial.folder / file, folder / file)
    below = catalogue.read_card(start)
    start_label, before = started_from(start / weights.name)
    summary = f"{below.name}, tuned on pictures of {', '.join(_named(data.classes))}."
    card = below.model_copy(
        update=origin_fields(recipe, weights, below=below)
        | {
            "summary": summary if step else f"{below.name} as it was: tuning gained nothing.",
            "training_data": [*before, data_entry(f"{len(data.samples)} photographs", recipe.data)],
            "lineage": lineage(recipe, start_label),
            "prompt_quality": below.prompt_quality,
            "score": rule,
            "limits": [LIMIT, *(limit for limit in below.limits if limit != LIMIT)],
        }
    )
    catalogue.write_card(card, folder)
    old, new = (catalogue.load_folder(each, recipe.device) for each in (start, folder))
    keep_graphs((start, old), (folder, new))
    title = f"{len(data.samples)} photographs, each segmented by a projection that was not trained on it"
    if (recipe.out / DATASET_FOLDER / OWN / "val").is_dir():
        data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "val")
        compared = BeforeAfter(data.classes, counts_of(old, data), counts_of(new, data))
        title = f"{len(data.samples)} held-out photographs"
    print(f"{title}, in percent:\n{compared.table()}", flush=True)
    about = {"step": step, "changes": compared.changes()}  # of the best that was tried
    if not step:
        compared = replace(compared, after=compared.before)
    after = compared.write(folder / COMPARED, data, (below.name, card.name), about)
    if recipe.samples:
        write_samples(old, new, data, recipe.samples, folder / SAMPLES)
        print(f"truth, before and after: {folder / SAMPLES}", flush=True)
    quality = {recipe.data.name: quality_of(after.scores, data)}
    card = card.model_copy(update={"quality": quality})
    catalogue.write_card(card, folder)
    return card


def keep_graphs(old: tuple[Path, Segmenter], new: tuple[Path, Segmenter]) -> None:
    """Copy the export of a model directory to one whose image network and prompt head are the same.

    Args:
        old, new: directory and model; `new` differs in its text projection alone, which no graph holds.
    """
    (source, before), (target, after) = old, new
    manifest = find(source / GRAPHS, before.digest)
    if manifest is None:
        return
    shutil.rmtree(target / GRAPHS, ignore_errors=True)  # of an earlier publication
    shutil.copytree(source / GRAPHS, target / GRAPHS)
    renamed = {"model": after.card.name, "version": after.card.version, "digest": after.digest}
    (target / GRAPHS / MANIFEST).write_text(manifest.model_copy(update=renamed).model_dump_json(indent=1) + "\n")
    if (source / RANGES).is_file():
        shutil.copyfile(source / RANGES, target / RANGES)


class Trial:
    """A model directory for measuring: the start with the user's words and a text projection to replace."""

    def __init__(self, folder: Path, start: Path, classes: tuple[str, ...], device: str) -> None:
        self.folder, self.start, self._classes, self._device = folder, start, classes, device
        self.card = catalogue.read_card(start)
        self._weights = load_file(start / FILE)

    def write(self, projection: Tensor, step: float) -> None:
        """Write the model interpolated by `step` (0..1) between the start and `projection` [D, 384]; 0: the start."""
        for file in (FILE, FAMILIAR):
            if (self.start / file).is_file():
                shutil.copyfile(self.start / file, self.folder / file)
        if step:
            place = self._weights[TEXT_PROJECTION]
            tuned = torch.lerp(place.float(), projection, step).to(place.dtype)
            save_file(self._weights | {TEXT_PROJECTION: tuned}, self.folder / FILE)
            _write_words(self.folder, self.start, self._classes)

    def counts(self, projection: Tensor, step: float, data: IndexedDataset) -> NDArray[np.int64]:
        """Pixels [P, 3, K] that are correct, in the truth and predicted, by photograph and class, of that model."""
        return counts_of(self.model(projection, step), data)

    def model(self, projection: Tensor, step: float) -> Segmenter:
        """That model, loaded."""
        self.write(projection, step)
        card = self.card.model_copy(update={"weights_sha256": file_digest(self.folder / FILE)})
        return catalogue.load_folder(self.folder, self._device, card=card)


def cross_validate(
    trial: Trial, projections: Tensor, data: IndexedDataset, recipe: FinetuneRecipe
) -> tuple[float, BeforeAfter]:
    """Choose the interpolation step by cross-validation; return it and the comparison with the start.

    Each photograph is segmented by the projection that was not trained on it. The step whose confidence interval of the
    gain has the highest lower end is chosen, or 0 if none of them is above 0.

    Args:
        trial: writes and measures the models.
        projections: [F + 1, D, 384] of the folds and of all photographs.
        data: the photographs in the order that they were trained in.
        recipe: number of folds and seed.
    """
    start = trial.counts(projections[-1], 0, data)
    by_step: list[tuple[float, BeforeAfter]] = []
    for step in STEPS:
        counts = np.empty_like(start)
        for left_out, part, projection in left_out_parts(projections, data, recipe):
            counts[left_out] = trial.counts(projection, step, part)
        by_step.append((step, BeforeAfter(data.classes, start, counts)))
    step, compared = max(by_step, key=lambda each: np.nan_to_num(each[1].change.low, nan=-np.inf))
    return (step if compared.change.low > 0 else 0.0), compared


def left_out_parts(
    projections: Tensor, data: IndexedDataset, recipe: FinetuneRecipe
) -> Iterator[tuple[NDArray[np.int64], IndexedDataset, Tensor]]:
    """The photographs of each fold, their places, and the projection that was not trained on them."""
    fold_of = folds(read_groups(recipe), count_folds(recipe), recipe.seed)
    for fold, projection in enumerate(projections[:-1]):
        left_out = np.flatnonzero(fold_of == fold)
        if len(left_out):
            yield left_out, replace(data, samples=tuple(data.samples[place] for place in left_out)), projection


def fit_rule(
    trial: Trial, projections: Tensor, step: float, data: IndexedDataset, recipe: FinetuneRecipe
) -> ScoreRule | None:
    """The start's rule of scores, fitted to segments of left-out photographs; unfitted it drops many that are right."""
    if trial.card.score is None:
        return None
    rare, parts = TextBook.read(TEXTS).rare, left_out_parts(projections, data, recipe)
    found = [gather(trial.model(each, step), part, len(part.samples), rare, recipe.seed) for _, part, each in parts]
    return fit(joined(found), trial.card.score, RIDGE_OF_START)


def _named(classes: tuple[str, ...]) -> list[str]:
    return [name for name in classes if name != BACKGROUND]


def _write_words(folder: Path, start: Path, classes: tuple[str, ...]) -> None:
    """Write the list of familiar words: those of the start, and the classes with synonyms. The bound is unchanged."""
    tower, synonyms = load_text_tower(), TextBook.read(TEXTS).synonyms
    before = read_familiar(start, tower.digest)
    if before is None:
        write_words(folder, classes, synonyms, tower)
        return
    words = dict.fromkeys(word for name in _named(classes) for word in (name, *synonyms.get(name, [])))
    new_words = [word for word in words if word not in before.words]
    rows = [before.rows, *([tower.encode([TEMPLATE.format(word) for word in new_words])] if new_words else [])]
    write_familiar(
        folder,
        [*before.words, *new_words],
        np.concatenate(rows),
        before.bound,
        tower.digest,
        before.foreign,
        [*before.masked, *words],
    )
