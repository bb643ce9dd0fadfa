"""Distillation: a network of `tiny`, the student, is trained on another model's masks, and published.

The loss of a pixel is weighted by the teacher's probability of its class. A teacher in this process and one at an
address give the same: the best class of each pixel and its probability.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.files.names import visible_in
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_train.data.indexed import Sample, read_dataset
from lexiseg_train.data.labelling.model_labels import (
    ABOUT,
    SHARES,
    ModelTeacher,
    Teacher,
    read_photographs,
    write_labels,
)
from lexiseg_train.evaluation.comparison import BeforeAfter, counts_of, write_samples
from lexiseg_train.methods.tiny.drawn.examples import Batch
from lexiseg_train.methods.tiny.own.finetune import COMPARED, SAMPLES
from lexiseg_train.methods.tiny.publish import publish
from lexiseg_train.methods.tiny.trainer import TinyTrainer, initial_network
from lexiseg_train.methods.tiny.trainings import OWN, DistilRecipe, TinyRecipe
from lexiseg_train.training.crops import Pack, Places
from lexiseg_train.training.model_card import data_entry
from lexiseg_train.training.processes import one_first
from lexiseg_train.training.recipes.training import AtAddress

SURE = 255  # confidence of a person's labels
DATASET_FOLDER = "laid-out"  # folder of a run, of the photographs as they are trained on


def label(recipe: DistilRecipe, at_address: AtAddress) -> str:
    """Have the teacher label the photographs that have no labels yet; return its name and digest."""
    photographs = read_photographs(recipe.data, recipe.classes, recipe.photographs)
    sizes = [[path.name, path.stat().st_size] for path in photographs.images]
    print(f"{recipe.teacher} labels {len(sizes)} photographs: {', '.join(photographs.classes)}", flush=True)
    about: dict[str, object] = {"teacher": recipe.teacher, "photographs": sizes}
    teacher = partial(at_address, recipe.teacher) if recipe.by_address else partial(_local_teacher, recipe)
    return write_labels(photographs, recipe.out / DATASET_FOLDER / OWN, teacher, about, recipe.held_out)


def _local_teacher(recipe: DistilRecipe) -> AbstractContextManager[Teacher]:
    folder, card = recipe.local_teacher()
    return nullcontext(ModelTeacher(catalogue.load_folder(folder, recipe.device, card=card)))


def tiny_recipe(recipe: DistilRecipe) -> TinyRecipe:
    root = recipe.out / DATASET_FOLDER
    folders = {"data": root, "packs": root / "packs"}
    return recipe.model_copy(update=folders | {"sets": {OWN: 1.0}, "paste": 0.0})


class DistilTrainer(TinyTrainer):
    """Trains on the masks of a teacher, each pixel by its probability; half of the examples have a person's masks."""

    def __init__(self, recipe: DistilRecipe) -> None:
        """Expects labelled photographs (`label`)."""
        inner = tiny_recipe(recipe)
        super().__init__(inner)
        self.recipe = recipe
        [source] = self.sources
        with one_first():
            shares = read_shares(source.pack, inner.data / OWN / "train", inner.packs / OWN / SHARES)
        self._shares = torch.from_numpy(shares).to(self.device)
        places = [slice(first, first + height * width) for first, height, width, _ in source.pack.places.tolist()]
        # A person labels most pixels of a photograph or none.
        own = tuple(index for index, place in enumerate(places) if (shares[place] == SURE).mean() > 0.5)
        if len(own) < len(source.pack):
            self.sources = [replace(source, favoured=own)]

    def _loss(self, batch: Batch) -> Tensor:
        shares = shares_in(self._shares, batch.views.windows, self._phase().crop)
        full, part = (each._replace(shares=shares) for each in (batch.questions.full, batch.questions.part))
        features, deep, _ = self._features(self._images(batch.views))
        questions = batch.questions._replace(full=full, part=part)
        return self._losses(features, deep, questions, self.network.network.project_texts)


def read_shares(pack: Pack, folder: Path, file: Path) -> NDArray[np.uint8]:
    """Confidences [N] of all pixels of a pack, in its order; gathered once into `file`, which is memory-mapped."""
    if not file.exists():
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        with fresh.open("wb") as content:
            for name in pack.photographs:
                content.write(Sample(folder, folder / SHARES / f"{name}.png").read_mask().tobytes())
        os.replace(fresh, file)
    return np.memmap(file, np.uint8, "c")


def shares_in(shares: Tensor, windows: Places, size: int) -> Tensor:
    """Confidences [B, P] in 0..1 at the cell centres of B crops, from all pixels' of a pack, [N] uint8."""
    at = torch.arange(STRIDE // 2, size, STRIDE)
    crops = []
    for (offset, height, width), step in zip(windows.places.tolist(), windows.steps.double().tolist(), strict=True):
        across, left, down, top = step
        x = (across * at + left).round().long().clamp(0, width - 1)
        y = (down * at + top).round().long().clamp(0, height - 1)
        crops.append(shares[(offset + y[:, None] * width + x).flatten().to(shares.device)])
    return torch.stack(crops).float() / 255


def publish_distilled(recipe: DistilRecipe, weights: Path) -> ModelCard:
    """Write the card, the words, `before-after.json` and `samples/`; before is what the student began as.

    Measured on the folder's own `val` where it has the same classes, else against the teacher's masks kept apart."""
    inner, folder, dataset_folder = tiny_recipe(recipe), weights.parent, recipe.out / DATASET_FOLDER / OWN
    card = publish(inner, weights)
    teacher = json.loads((dataset_folder / ABOUT).read_bytes())["model"]
    *before, _ = card.training_data
    n_photographs = len(visible_in(dataset_folder / "train" / "images"))
    source_line = data_entry(f"{n_photographs} photographs, labelled by {teacher}", recipe.data)
    card = card.model_copy(
        update={
            "summary": f"The network of tiny, taught by {teacher}.",
            "training_data": [*before, source_line],
            "lineage": f"{card.lineage} Taught by {teacher}.",
        }
    )
    catalogue.write_card(card, folder)
    data = read_dataset(inner.data, OWN, "val")
    after = catalogue.load_folder(folder, recipe.device)
    with TemporaryDirectory() as name:
        file = Path(name) / weights.name
        save_file(initial_network(inner).state_dict(), file)
        start_card = card.model_copy(update={"weights_sha256": file_digest(file)})
        start = catalogue.load_folder(file.parent, recipe.device, card=start_card)
        compared = BeforeAfter(data.classes, counts_of(start, data), counts_of(after, data))
        if recipe.samples:
            write_samples(start, after, data, recipe.samples, folder / SAMPLES)
    truth = f"by the masks of {teacher}" if (dataset_folder / "val" / SHARES).is_dir() else "kept apart"
    print(f"{len(data.samples)} photographs {truth}, in percent:\n{compared.table()}", flush=True)
    compared.write(folder / COMPARED, data, (card.name, card.name), {"teacher": teacher})
    return card
