"""Training of a student: crops with labels, cross-entropy at every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lexiseg_model.clip.normalise import normalise
from lexiseg_model.data.indexed import IGNORE, Sample, read_dataset
from lexiseg_model.methods.s_seg_plus.network import Student
from lexiseg_model.methods.s_seg_plus.training.classes import settings_for
from lexiseg_model.methods.s_seg_plus.training.publish import publish
from lexiseg_model.methods.s_seg_plus.training.recipe import StudentRecipe
from lexiseg_model.training.augment import random_crop
from lexiseg_model.training.gather import rank
from lexiseg_model.training.recipe import Phase
from lexiseg_model.training.run import Run
from lexiseg_model.weights import WEIGHTS


class LabelledBatch(NamedTuple):
    """`images` uint8 [B, 3, S, S] and `labels` int64 [B, S, S], 255 where nobody knows."""

    images: Tensor
    labels: Tensor


class LabelledCrops(IterableDataset[LabelledBatch]):
    """An endless stream of batches; each is a function of the seed and its number."""

    def __init__(self, samples: list[Sample], recipe: StudentRecipe, phase: Phase, first: int) -> None:
        """`first`: the number of the first batch of this process."""
        super().__init__()
        self._samples, self._recipe, self._phase, self._first = samples, recipe, phase, first

    def __iter__(self) -> Iterator[LabelledBatch]:
        worker = get_worker_info()
        number, turns = (self._first, 1) if worker is None else (self._first + worker.id, worker.num_workers)
        while True:
            yield self.batch(number)
            number += turns

    def batch(self, number: int) -> LabelledBatch:
        """The batch of that number, counted over the steps of this process."""
        recipe, size = self._recipe, self._phase.crop
        random = np.random.default_rng([recipe.seed, number, rank()])
        chosen = random.integers(len(self._samples), size=self._phase.batch).tolist()
        crops = [random_crop(*self._read(index), size, 1, random, recipe.zoom) for index in chosen]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in crops])
        labels = np.stack([label for _, label in crops]).astype(np.int64)
        return LabelledBatch(torch.from_numpy(images), torch.from_numpy(labels))

    def _read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image = self._samples[index].read_image()
        if not self._recipe.mismatched:
            return image, self._samples[index].read_mask()
        other = self._samples[(index + len(self._samples) // 2) % len(self._samples)].read_mask()
        return image, cv2.resize(other, image.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)


class StudentTrainer(Run[StudentRecipe, Student, LabelledBatch]):
    """Trains all of a student."""

    file = WEIGHTS

    def __init__(self, recipe: StudentRecipe) -> None:
        """
        Raises:
            DatasetError: a set is missing, or the sets have different class lists.
            WeightsError: the start is missing, or of another transformer.
        """
        sets = [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets]
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, Student(settings_for(recipe, sets), recipe.start))
        self.samples = [sample for data in sets for sample in data.samples]
        self._right: list[float] = []

    def _batches(self, phase: Phase) -> LabelledCrops:
        return LabelledCrops(self.samples, self.recipe, phase, self.step)

    def _loss(self, batch: LabelledBatch) -> Tensor:
        images = normalise(batch.images.to(self.device), "imagenet")
        labels = batch.labels.to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            answers = self.network.both(images)
        whole, helper = (
            F.interpolate(each.float(), size=labels.shape[1:], mode="bilinear", align_corners=False) for each in answers
        )
        known = labels != IGNORE
        n_known = known.sum().clamp(min=1)
        losses = [
            F.cross_entropy(each, labels, ignore_index=IGNORE, reduction="sum") / n_known for each in (whole, helper)
        ]
        self._right.append(((whole.argmax(1) == labels) & known).sum().item() / n_known.item())
        return losses[0] + self.recipe.helper * losses[1]

    def _told(self) -> dict[str, float]:
        right = float(np.mean(self._right))
        self._right.clear()
        return {"right": round(right, 4)}

    def _validate(self) -> dict[str, float]:
        """mIoU on the val splits of `judged`, as the model would serve."""
        if not self.recipe.judged:
            return {}
        with TemporaryDirectory() as folder:
            weights = Path(folder) / WEIGHTS
            self._write_weights(weights)
            quality = publish(self.recipe, weights).quality
        return {f"{name}_miou": each.miou for name, each in quality.items()}

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.average)


def in_form(recipe: StudentRecipe) -> Student:
    """What is trained, with random values. Raises DatasetError as `settings_for`, and where a set is missing."""
    return Student(settings_for(recipe, [read_dataset(recipe.data, name, recipe.split) for name in recipe.sets]))
