"""mIoU of classes taught by pictures against the same classes by words: `python -m benchmarks teach ROOT [SET ...]`.

Pictures to learn from and others to measure on are drawn from the `train` split of sets that the model never saw;
prints each figure with its standard error over the draws. A set with a background is measured with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter, teachable
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.heads import UNKNOWN, LabelledPicture, Lesson
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_model.vocabulary.solving import solve
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.counts import count, scores

SETS = ("faces", "corridors", "small-things", "plates", "helmets", "hands", "car-parts", "msrc", "scenes")
NUMBERS = 5, 20  # of pictures to learn from
MAX_MEASURED = 30  # pictures
MAX_SHARE = 0.5  # of a small set that is learned from


class Picture(NamedTuple):
    """One picture: its features, what it teaches, and its truth [H, W] in values of the set."""

    features: Features
    lesson: Lesson
    truth: NDArray[np.uint8]


class Taught:
    """A set's pictures, encoded when they are first needed, and its classes."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset) -> None:
        self._segmenter, self._data = segmenter, data
        self.rows_of = KnownRows(segmenter)
        self.values = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
        self.names = tuple(data.classes[value] for value in self.values)
        self.words = Vocabulary(tuple(map(ClassEntry, self.names)), Background() if data.has_background else None)
        self._known: dict[int, Picture] = {}

    def picture(self, index: int) -> Picture:
        if index not in self._known:
            image, truth = self._data.samples[index].read(len(self._data.classes))
            features = self._segmenter.encode(image, InferenceOptions(teaching=True))
            bank = bank_of(self._segmenter, replace(self.words, background=Background()), self.rows_of)
            labelled = LabelledPicture(self._labels(truth), self.names)
            self._known[index] = Picture(features, teachable(self._segmenter).lesson(features, labelled, bank), truth)
        return self._known[index]

    def miou(self, vocabulary: Vocabulary, indices: Sequence[int]) -> float:
        """mIoU in percent of the vocabulary's answers."""
        value_of = np.append(self.values, 0)  # the background is value 0
        n = len(self._data.classes)
        total = np.zeros((3, n), np.int64)
        for features, _, truth in map(self.picture, indices):
            logits = score_vocabulary(self._segmenter, features, vocabulary, self.rows_of, self._segmenter.card.refine)
            total += count(truth, value_of[winners(logits, features.size).labels], n)
        present = [value for value in self.values if total[1, value]]
        return float(scores(total).per_class[present].mean())

    def taught(self, indices: Sequence[int]) -> Vocabulary:
        """The classes, learned from pictures."""
        head = solve([self.picture(index).lesson for index in indices], self.names)
        learned = zip(self.words.classes, head.learned(), strict=True)
        return replace(self.words, classes=tuple(replace(entry, learned=each) for entry, each in learned))

    def _labels(self, truth: NDArray[np.uint8]) -> NDArray[np.int64]:
        label_of = np.full(256, UNKNOWN)
        label_of[self.values] = np.arange(len(self.values))
        if self._data.has_background:
            label_of[0] = len(self.values)
        labels: NDArray[np.int64] = label_of[truth]
        return labels


def measure(segmenter: Segmenter, data: IndexedDataset, numbers: Sequence[int], draws: int) -> Iterator[list[float]]:
    """For each draw the mIoU by words, and taught by each number of pictures."""
    taught = Taught(segmenter, data)
    most = min(max(numbers), round(MAX_SHARE * len(data.samples)))
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(data.samples)).tolist()
        measured = order[most : most + MAX_MEASURED]
        vocabularies = [taught.words, *(taught.taught(order[: min(number, most)]) for number in numbers)]
        yield [taught.miou(vocabulary, measured) for vocabulary in vocabularies]


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks teach", description="mIoU taught by pictures against words.")
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pictures", type=int, nargs="+", default=NUMBERS, help="to learn from; half of a small set")
    parser.add_argument("--draws", type=int, default=3, help="random draws of pictures to average")
    options = parser.parse_args(arguments)
    segmenter = catalogue.load(options.model)
    print(f"| set | words | {' | '.join(f'{number} pictures' for number in options.pictures)} |")
    print("|---|---|" + "---|" * len(options.pictures))
    for name in options.sets:
        figures = np.array(
            [*measure(segmenter, read_dataset(options.root, name, "train"), options.pictures, options.draws)]
        )
        means, errors = figures.mean(0), figures.std(0) / max(1, len(figures) - 1) ** 0.5
        cells = (f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means, errors, strict=True))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
