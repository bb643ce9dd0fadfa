"""Heads of a data set: what its photographs teach, and what is solved from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import teachable
from lexiseg_model.errors import TeachingError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.heads import UNKNOWN, LabelledPicture, Lesson
from lexiseg_model.vocabulary.solving import solve
from lexiseg_train.data.indexed import IndexedDataset


class Picture(NamedTuple):
    """One photograph: its features, what it teaches, and its truth [H, W] in values of the set."""

    features: Features
    lesson: Lesson
    truth: NDArray[np.uint8]


class Teacher:
    """Takes lessons from photographs of a data set with classes `names` and mask values `values`, `fine` in detail."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset, fine: bool = False) -> None:
        self._segmenter, self._data = segmenter, data
        self._options = InferenceOptions(teaching=True, fine=fine)
        self.rows_of = KnownRows(segmenter)
        self.values = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
        self.names = tuple(data.classes[value] for value in self.values)
        self.words = Vocabulary(tuple(map(ClassEntry, self.names)), Background() if data.has_background else None)

    def picture(self, index: int) -> Picture:
        """A photograph by number. Raises TeachingError: nothing in it is labelled."""
        image, truth = self._data.samples[index].read(len(self._data.classes))
        labelled = LabelledPicture(self._labels(truth), self.names)
        features = self._segmenter.encode(image, self._options)
        bank = bank_of(self._segmenter, replace(self.words, background=Background()), self.rows_of)
        return Picture(features, teachable(self._segmenter).lesson(features, labelled, bank), truth)

    def _labels(self, truth: NDArray[np.uint8]) -> NDArray[np.int64]:
        label_of = np.full(256, UNKNOWN)
        label_of[self.values] = np.arange(len(self.values))
        if self._data.has_background:
            label_of[0] = len(self.values)
        labels: NDArray[np.int64] = label_of[truth]
        return labels


class Solved(NamedTuple):
    """A solved head: `directions` [K, F] and factors `text` [K]; a class without a photograph has zeros and 1."""

    directions: Tensor
    text: Tensor

    @classmethod
    def of(cls, lessons: Sequence[Lesson], names: Sequence[str], size: int) -> Solved:
        """By lessons; by only words where these show less than two labels. `size`: F."""
        try:
            head = solve(lessons, names)
        except TeachingError:
            return cls(torch.zeros(len(names), size), torch.ones(len(names)))
        return cls(torch.from_numpy(head.directions.copy()), torch.from_numpy(head.text.copy()))
