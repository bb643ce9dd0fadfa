"""Training of an S-Seg+ student with cross-entropy over labelled pixels of random crops, and its publication."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.cards import BackgroundRule, InputSize, ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.images import normalise
from lexiseg_model.methods.s_seg_plus.network import Student
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, Reading, Sample, one_value_warning_of, read_dataset
from lexiseg_train.data.pairs.source import Skipped, first_readable
from lexiseg_train.methods.s_seg_plus.trainings import StudentRecipe, settings_for
from lexiseg_train.training.crops import random_crop
from lexiseg_train.training.model_card import data_entry, origin_fields, with_quality
from lexiseg_train.training.processes import rank
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream

LIMITS = [
    "Knows the classes that it was taught and no others: any other word is found nowhere, and the answer warns of it.",
    "Its labels were another model's guesses, whose mistakes it may repeat.",
]


class LabelledBatch(NamedTuple):
    """`images` uint8 [B, 3, S, S], `labels` int64 [B, S, S] with 255 = ignore, and samples that could not be read."""

    images: Tensor
    labels: Tensor
    skipped: tuple[Skipped, ...]


class LabelledCrops(Stream[LabelledBatch]):
    def __init__(self, samples: list[Sample], n_classes: int, recipe: StudentRecipe, phase: LocalPhase) -> None:
        super().__init__()
        self._samples, self._n_classes, self._recipe, self._phase = samples, n_classes, recipe, phase
        self.seed = recipe.seed

    def make(self, number: int, random: np.random.Generator) -> LabelledBatch:
        recipe, size = self._recipe, self._phase.crop
        indices = random.integers(len(self._samples), size=self._phase.batch).tolist()
        n_samples = len(self._samples)
        readings = [first_readable(index, self._read, lambda _: int(random.integers(n_samples))) for index in indices]
        crops = [random_crop(*reading, size, 1, random, recipe.zoom) for reading, _ in readings]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in crops])
        labels = np.stack([label for _, label in crops]).astype(np.int64)
        skipped = tuple(each for _, broken in readings for each in broken)
        return LabelledBatch(torch.from_numpy(images), torch.from_numpy(labels), skipped)

    def _read(self, index: int) -> Reading:
        sample = self._samples[index].read(self._n_classes)
        if not self._recipe.mismatched:
            return sample
        other = self._samples[(index + len(self._samples) // 2) % len(self._samples)].read(self._n_classes).mask
        sized = cv2.resize(other, sample.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return Reading(sample.image, sized.astype(np.uint8))


class StudentTrainer(Run[StudentRecipe, Student, LabelledBatch]):
    file = WEIGHTS

    def __init__(self, recipe: StudentRecipe) -> None:
        """Prints a warning about sets with masks that show no class."""
        sets = [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets]
        torch.manual_seed(recipe.seed)
        settings = settings_for(recipe, sets)
        if rank() == 0:
            for warning in (sentence for data in sets for sentence in one_value_warning_of(data)):
                print(f"warning: {warning}", flush=True)
        super().__init__(recipe, Student(settings, recipe.start))
        self.samples = [sample for data in sets for sample in data.samples]
        self.n_classes = len(settings.classes)

    def _batches(self, phase: LocalPhase) -> LabelledCrops:
        return LabelledCrops(self.samples, self.n_classes, self.recipe, phase)

    def _loss(self, batch: LabelledBatch) -> Tensor:
        images = normalise(batch.images.to(self.device), "imagenet")
        labels = batch.labels.to(self.device)
        with self.autocast():
            answers = self.network.both(images)
        whole, helper = (
            F.interpolate(each.float(), size=labels.shape[1:], mode="bilinear", align_corners=False) for each in answers
        )
        labelled = labels != IGNORE
        n_labelled = labelled.sum().clamp(min=1)
        losses = [
            F.cross_entropy(each, labels, ignore_index=IGNORE, reduction="sum") / n_labelled for each in (whole, helper)
        ]
        self.note(right=((whole.argmax(1) == labels) & labelled).sum().item() / n_labelled.item())
        return losses[0] + self.recipe.helper * losses[1]

    def _validate(self) -> dict[str, float]:
        if not self.recipe.judged:
            return {}
        with TemporaryDirectory() as folder:
            weights = Path(folder) / WEIGHTS
            self.write_weights(weights)
            quality = publish(self.recipe, weights).quality
        return {f"{name}_miou": each.miou for name, each in quality.items()}

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.average)


def untrained(recipe: StudentRecipe) -> Student:
    """Untrained network of a recipe. Raises DatasetError as `settings_for`, or if a set is missing."""
    return Student(settings_for(recipe, [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets]))


def publish(recipe: StudentRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to the weights, with the quality on the val splits of `recipe.judged`."""
    settings = settings_for(recipe, [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets])
    side = recipe.phases[-1].crop
    named = [name for name in settings.classes if name != BACKGROUND]
    start = "random weights" if recipe.start is None else f"a transformer of {recipe.start.name}"
    card = ModelCard.model_validate(
        origin_fields(recipe, weights, start)
        | {
            "method": "s_seg_plus",
            "summary": f"S-Seg+: {settings.backbone} with UperNet, taught {len(named)} classes by a model's labels.",
            "tasks": ["semantic", "instance", "panoptic"],
            "training_data": [data_entry("labels by a model", recipe.data / name) for name in recipe.sets],
            "input": InputSize(short_side=side, long_side=max(2048, side), multiple=32),
            "embedding": len(settings.classes),
            "text_tower": "none: a class is asked for by its name",
            # Taught classes that a request does not list still compete.
            "background": BackgroundRule(words=named, same_meaning=0.99),
            "refinements": ["none"],
            "settings": settings.model_dump(mode="json"),
            "limits": LIMITS,
        }
    )
    catalogue.write_card(card, weights.parent)
    if recipe.judged:
        segmenter = catalogue.load_folder(weights.parent, recipe.device)
        card = with_quality(card, weights.parent, segmenter, recipe.truth or recipe.data, recipe.judged)
    return card
