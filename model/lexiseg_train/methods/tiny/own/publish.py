"""Publish weights that were fine-tuned on a user's pictures: model directory, card, and figures before and after."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest, under
from lexiseg_model.methods.tiny.weights import FILE
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.segmenter import Segmenter
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.before_after import BeforeAfter, counts_of, write_samples
from lexiseg_train.methods.tiny.own.finetune import (
    DATASET_FOLDER,
    PARTS,
    count_folds,
    folds,
    initial_taught,
    read_groups,
    with_taught,
)
from lexiseg_train.methods.tiny.publish import started_from
from lexiseg_train.methods.tiny.texts import write_more_words
from lexiseg_train.methods.tiny.trainer import read_start
from lexiseg_train.methods.tiny.trainings import OWN, FinetuneRecipe
from lexiseg_train.training.model_card import data_entry, lineage, origin_fields, quality_of

SAMPLES, COMPARED = "samples", "before-after.json"
LIMIT = (
    "Tuned on a few photographs: other words are answered as before, the taught classes were not measured elsewhere."
)


def publish_finetuned(recipe: FinetuneRecipe, weights: Path) -> ModelCard:
    """Write the card, the words, `before-after.json` and `samples/`; before is what the photographs teach just a head.

    Without a gain over it on left-out photographs the model has only the head. Figures of the start's card stand."""
    folder, start = weights.parent, recipe.start_folder()
    below = catalogue.read_card(start)
    data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "train")
    pictures = data_entry(f"{len(data.samples)} photographs", recipe.data)
    parts = load_file(folder / PARTS)
    n_folds = count_folds(recipe)
    tuned = [under(f"{index}.taught.", parts) for index in range(n_folds + 1)]
    solved = [only_solved(start, under(f"{index}.", parts)) for index in range(n_folds + 1)]
    with TemporaryDirectory() as place:
        trial = Trial(Path(place), start, [*data.named.values()], recipe.device)
        compared = cross_validate(trial, solved, tuned, data, recipe)
        gained = compared.change.difference > 0
        print(verdict(compared), flush=True)
        old = trial.model(solved[-1])
        new = trial.model(tuned[-1] if gained else solved[-1])
        for file in (weights.name, FAMILIAR):
            shutil.copyfile(trial.folder / file, folder / file)
        title = f"{len(data.samples)} photographs, each segmented by a part that was not trained on it"
        if (recipe.out / DATASET_FOLDER / OWN / "val").is_dir():
            data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "val")
            compared = BeforeAfter(data.classes, counts_of(old, data), counts_of(new, data))
            title = f"{len(data.samples)} held-out photographs"
        if recipe.samples:
            write_samples(old, new, data, recipe.samples, folder / SAMPLES)
    print(f"{title}, a head alone and tuned, in percent:\n{compared.table()}", flush=True)
    about = {"step": float(gained), "changes": compared.changes()}  # of the training, if it is used or not
    if not gained:
        compared = replace(compared, after=compared.before)
    started, before = started_from(start / weights.name)
    names = ", ".join(data.named.values())
    card = below.model_copy(
        update=origin_fields(recipe, weights, below=below)
        | {
            "summary": f"{below.name}, {'tuned on' if gained else 'taught by'} pictures of {names}.",
            "training_data": [*before, pictures],
            "lineage": lineage(recipe, started),
            "prompt_quality": below.prompt_quality,
            "settings": trial.card.settings,
            "limits": [LIMIT, *(limit for limit in below.limits if limit != LIMIT)],
        }
    )
    after = compared.write(folder / COMPARED, data, (f"{below.name}, taught", card.name), about)
    if recipe.samples:
        print(f"truth, before and after: {folder / SAMPLES}", flush=True)
    card = card.model_copy(update={"quality": {recipe.data.name: quality_of(after.scores, data)}})
    catalogue.write_card(card, folder)
    return card


def verdict(compared: BeforeAfter) -> str:
    """Sentence that says which of both models is written; a gain is certain where its 95 % interval is above zero."""
    change = compared.change
    rated = f"left-out photographs (mIoU {change.difference:+.1f}, 95 % {change.low:+.1f} to {change.high:+.1f})"
    if change.low > 0:
        return f"gained over the head alone on {rated}"
    if change.difference > 0:
        return f"likely better than the head alone, but not for sure, on {rated}: the tuned model is written"
    return f"no gain over the head alone on {rated}: the model has that head, as `lexiseg teach` solves it"


def only_solved(start: Path, part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The taught classes of a part before its training: the decoder of the start, and the solved directions."""
    taught = initial_taught(read_start(start / FILE), len(part["solved"])).state_dict()
    return taught | {"directions": part["solved"], "text": part["taught.text"]}


class Trial:
    """A model directory for measuring: the start with the user's words and taught classes to replace."""

    def __init__(self, folder: Path, start: Path, names: list[str], device: str) -> None:
        self.folder, self._device = folder, device
        card = catalogue.read_card(start)
        self.card = card.model_copy(update={"settings": card.settings | {"taught": names}})
        self._weights = load_file(start / FILE)
        write_more_words(folder, start, names)

    def model(self, taught: Mapping[str, Tensor]) -> Segmenter:
        halves = {name: value.half().contiguous() for name, value in taught.items() if value.is_floating_point()}
        save_file(with_taught(self._weights, halves), self.folder / FILE)
        card = self.card.model_copy(update={"weights_sha256": file_digest(self.folder / FILE)})
        return catalogue.load_folder(self.folder, self._device, card=card)


def cross_validate(
    trial: Trial,
    solved: list[dict[str, Tensor]],
    tuned: list[dict[str, Tensor]],
    data: IndexedDataset,
    recipe: FinetuneRecipe,
) -> BeforeAfter:
    """Compare solved heads, of each fold and of all, with trained ones, by photographs that neither has seen."""
    fold_of = folds(read_groups(recipe), count_folds(recipe), recipe.seed)
    counts = np.zeros((2, len(data.samples), 3, len(data.classes)), np.int64)
    for fold in np.unique(fold_of):
        left_out = np.flatnonzero(fold_of == fold)
        part = replace(data, samples=tuple(data.samples[place] for place in left_out))
        for side, taught in enumerate((solved[fold], tuned[fold])):
            counts[side, left_out] = counts_of(trial.model(taught), part)
    return BeforeAfter(data.classes, *counts)
