"""mIoU of classes taught by pictures against the same classes by words: `python -m benchmarks teach ROOT [SET ...]`.

Pictures to learn from and others to measure on are drawn from the `train` split; other pictures of some sets are among
those of the bundled weights (card.yaml). Prints each figure with its standard error over the draws; a set with a
background is measured with it. With `--strip`, the first pictures teach, as in the page's strip, and pictures all over
the rest are measured. With `--rename skin=cheek`, a class goes by a word that says less of it. With `--finetune`,
`lexiseg train finetune` learns from as many pictures as the largest head, and a column has its mIoU, the minutes and in
how many draws it was refused. With `--unrelated voc`, photographs of that set's `val` split are asked for plain words
and the head: in how many percent it takes over 1 % of the pixels, and how many percent of the words' masks change much.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.abilities import teachable
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import LabelledPicture, Lesson
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_model.vocabulary.solving import solve
from lexiseg_train.data.indexed import CLASSES, IndexedDataset, Sample, read_dataset
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.methods.tiny.own.finetune import labels_by_value
from lexiseg_train.training.recipes.read import read_recipe

SETS = ("faces", "corridors", "small-things", "plates", "helmets", "hands", "car-parts", "msrc", "scenes")
NUMBERS = 5, 20  # of pictures to learn from
MAX_MEASURED = 30  # pictures
MAX_SHARE = 0.5  # of a small set that is learned from
PLAIN_WORDS = "person", "sky", "tree", "building", "car", "grass", "road", "dog"
LEAST = 0.01  # share of a photograph that counts as painted, or as a mask
SAME = 0.8  # IoU of a mask with that of the words by themselves, below which it is spoilt


class Picture(NamedTuple):
    """One photograph: its features, what it teaches, and its truth [H, W] in values of the set."""

    features: Features
    lesson: Lesson
    truth: NDArray[np.uint8]


class Taught:
    """A set's pictures, encoded when they are first needed, and its classes."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset, renames: Mapping[str, str] = {}) -> None:
        self._segmenter, self._data, self._n_classes = segmenter, data, len(data.classes)
        self.names = tuple(renames.get(name, name) for name in data.named.values())
        self._labels, self._rows_of = labels_by_value(data), KnownRows(segmenter)
        self.values = [data.classes.index(name) for name in data.named.values()]
        self.words = Vocabulary(tuple(map(ClassEntry, self.names)), Background() if data.has_background else None)
        self._known: dict[int, Picture] = {}

    def picture(self, index: int) -> Picture:
        if index not in self._known:
            image, truth = self._data.samples[index].read(self._n_classes)
            features = self._segmenter.encode(image, InferenceOptions(teaching=True, fine=True))
            bank = bank_of(self._segmenter, replace(self.words, background=Background()), self._rows_of)
            labelled = LabelledPicture(self._labels[truth], self.names)
            lesson = teachable(self._segmenter).lesson(features, labelled, bank)
            self._known[index] = Picture(features, lesson, truth)
        return self._known[index]

    def miou(self, vocabulary: Vocabulary, indices: Sequence[int]) -> float:
        """mIoU in percent of the vocabulary's answers."""
        value_of = np.append(self.values, 0)  # the background is value 0
        total = np.zeros((3, self._n_classes), np.int64)
        for features, _, truth in map(self.picture, indices):
            logits = score_vocabulary(self._segmenter, features, vocabulary, self._rows_of, self._segmenter.card.refine)
            total += count(truth, value_of[winners(logits, features.size).labels], self._n_classes)
        present = [value for value in self.values if total[1, value]]
        return float(scores(total).per_class[present].mean())

    def taught(self, indices: Sequence[int]) -> Vocabulary:
        """The classes, learned from pictures."""
        head = solve([self.picture(index).lesson for index in indices], self.names)
        learned = zip(self.words.classes, head.learned(), strict=True)
        return replace(self.words, classes=tuple(replace(entry, learned=each) for entry, each in learned))


class Unrelated:
    """Photographs that have nothing to do with a head, answered for plain words."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset) -> None:
        self._segmenter, self._rows_of = segmenter, KnownRows(segmenter)
        n, options = len(data.samples), InferenceOptions(teaching=True, fine=True)
        places = np.linspace(0, n - 1, min(n, MAX_MEASURED)).round().astype(int)
        self._features = [segmenter.encode(data.samples[place].read_image(), options) for place in places]
        self._plain = [self._labels(features, ()) for features in self._features]

    def harm(self, classes: tuple[ClassEntry, ...]) -> tuple[float, float]:
        """In percent: photographs that the classes paint, and masks of words that they spoil."""
        painted, spoilt = [], []
        for features, plain in zip(self._features, self._plain, strict=True):
            labels = self._labels(features, classes)
            n = len(PLAIN_WORDS)
            painted.append(((labels >= n) & (labels < n + len(classes))).mean() > LEAST)
            for word in np.flatnonzero(np.bincount(plain.ravel(), minlength=n)[:n] > LEAST * plain.size):
                before, now = plain == word, labels == word
                spoilt.append((before & now).sum() < SAME * (before | now).sum())
        return 100 * float(np.mean(painted)), 100 * float(np.mean(spoilt))

    def _labels(self, features: Features, classes: tuple[ClassEntry, ...]) -> NDArray[np.uint16]:
        vocabulary = Vocabulary((*map(ClassEntry, PLAIN_WORDS), *classes), Background())
        logits = score_vocabulary(self._segmenter, features, vocabulary, self._rows_of, self._segmenter.card.refine)
        return winners(logits, features.size).labels


def tuned(folder: Path, samples: Sequence[Sample], place: Path, seed: int) -> tuple[Segmenter, bool]:
    """`tiny`, tuned on some photographs of a set's folder, and whether that gained."""
    for part in ("images", "masks"):
        (place / "pictures" / part).mkdir(parents=True)
    for sample in samples:
        shutil.copy(sample.image, place / "pictures" / "images")
        shutil.copy(sample.mask, place / "pictures" / "masks")
    shutil.copy(folder / CLASSES, place / "pictures")
    values = {"data": place / "pictures", "out": place / "run", "seed": seed, "samples": 0}
    planned = read_recipe("finetune", [f"{name}={value}" for name, value in values.items()])
    weights = planned.training.trainer(planned.recipe).train()
    assert weights is not None, "the training was stopped"
    planned.training.code().publish(planned.recipe, weights)
    gained = json.loads((weights.parent / "before-after.json").read_text())["step"] > 0
    return catalogue.load_folder(weights.parent, "cpu", runtime="auto"), gained


def strip(n: int, most: int) -> list[int]:
    """The first of n pictures, at most `most`, and others from all over the rest."""
    rest = np.linspace(most, n - 1, min(MAX_MEASURED, n - most)).round().astype(int)
    return [*range(most), *rest.tolist()]


def measure(
    segmenter: Segmenter,
    data: IndexedDataset,
    numbers: Sequence[int],
    orders: Sequence[Sequence[int]],
    root: Path | None,
    renames: Mapping[str, str],
    unrelated: Unrelated | None,
) -> Iterator[list[float]]:
    """For each order the mIoU by words, and by each number of pictures; what these do to unrelated photographs; tuned,
    its minutes and whether it gained.

    `root`: of the data sets; None: without tuning.
    """
    taught = Taught(segmenter, data, renames)
    most = min(max(numbers), round(MAX_SHARE * len(data.samples)))
    for seed, order in enumerate(orders):
        measured = order[most : most + MAX_MEASURED]
        vocabularies = [taught.words, *(taught.taught(order[: min(number, most)]) for number in numbers)]
        figures = [taught.miou(vocabulary, measured) for vocabulary in vocabularies]
        if unrelated is not None:
            figures += [share for vocabulary in vocabularies[1:] for share in unrelated.harm(vocabulary.classes)]
        if root is not None:
            began = time.monotonic()
            with TemporaryDirectory() as place:
                samples = [data.samples[index] for index in order[:most]]
                model, gained = tuned(root / data.name, samples, Path(place), seed)
                minutes = (time.monotonic() - began) / 60
                figures += [Taught(model, data).miou(taught.words, measured), minutes, float(gained)]
        yield figures


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks teach", description="mIoU taught by pictures against words.")
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pictures", type=int, nargs="+", default=NUMBERS, help="to learn from; half of a small set")
    parser.add_argument("--draws", type=int, default=3, help="random draws of pictures to average")
    parser.add_argument("--strip", action="store_true", help="learn from the first pictures, in order; one draw")
    parser.add_argument("--rename", nargs="+", default=[], metavar="OLD=NEW", help="words of classes")
    parser.add_argument("--unrelated", metavar="SET", help="photographs that have nothing to do with the classes")
    parser.add_argument("--finetune", action="store_true", help="and tuned on the largest number of pictures")
    options = parser.parse_args(arguments)
    segmenter = catalogue.load(options.model, runtime="auto")
    renames = dict(pair.split("=") for pair in options.rename)
    tuning = ["tuned", "minutes", "gained"] if options.finetune else []
    harm = [f"{each} %, {number}" for number in options.pictures for each in ("painted", "spoilt") if options.unrelated]
    unrelated = Unrelated(segmenter, read_dataset(options.root, options.unrelated, "val")) if harm else None
    heads = ["set", "words", *(f"{number} pictures" for number in options.pictures), *harm, *tuning]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in options.sets:
        data, root = read_dataset(options.root, name, "train"), options.root if options.finetune else None
        n = len(data.samples)
        drawn = [np.random.default_rng(seed).permutation(n).tolist() for seed in range(options.draws)]
        orders = [strip(n, min(max(options.pictures), round(MAX_SHARE * n)))] if options.strip else drawn
        figures = np.array([*measure(segmenter, data, options.pictures, orders, root, renames, unrelated)])
        means, errors = figures.mean(0), figures.std(0) / max(1, len(figures) - 1) ** 0.5
        cells = (f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means, errors, strict=True))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
