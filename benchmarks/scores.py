"""Scores of words on photographs of `val`: `python -m benchmarks scores ROOT [--model MODEL]`.

Prints the tables of docs/quality.md: how well scores are calibrated for lists of 1, 6 and 20 words, what each
threshold keeps of six words, and how much similar classes take from each other. A class counts as there if the
photograph shows it. First, as docs/quality.md has it: lists of six words of a set, half of them there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import Background, ClassEntry, Segmentation, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, read_dataset
from lexiseg_train.evaluation.counts import Counts, count, scores
from lexiseg_train.methods.tiny.publish import calibration_error

SET = "voc"
HALF_THERE = ("voc", "street", "coco")  # sets of the first table
N_ASKED = 6  # words of its lists
SIX = ("dog", "cat", "person", "car", "chair", "tv monitor")
THRESHOLDS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.5)
PAIRS = (("dog", "cat"), ("horse", "cow"), ("sheep", "cow"), ("bus", "train"), ("motorcycle", "bicycle"))


class Scored(NamedTuple):
    """A segment: number of words in the request, its score, and whether the photograph shows its class."""

    n_words: int
    score: float
    is_there: bool


class Theft(NamedTuple):
    """A class alone and beside a similar one that is not there, in 0..1: IoU alone, beside it, and the share of the
    class's pixels that the similar one paints alone."""

    alone: float
    beside: float
    painted: float


class WordModel:
    """Segments images by words; converts answers to mask values of a data set."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset) -> None:
        self.segmenter, self.classes = segmenter, data.classes
        self._rows_of = KnownRows(segmenter)

    def answer(self, features: Features, words: Sequence[str], threshold: float | None = None) -> Segmentation:
        """Segments of a list of words; the threshold defaults to that of the model's card."""
        vocabulary = Vocabulary(tuple(map(ClassEntry, words)), Background())
        return segment("semantic", self.segmenter, features, vocabulary, Options(threshold), self._rows_of)

    def values(self, answer: Segmentation, threshold: float = 0.0) -> NDArray[np.uint8]:
        """[H, W] mask values of the data set; 0 where no segment has at least the threshold."""
        value_of = [0, *(self.classes.index(str(one.label)) * (one.score >= threshold) for one in answer.segments)]
        return np.array(value_of, np.uint8)[answer.label_map]


def half_there(segmenter: Segmenter, data: IndexedDataset) -> str:
    """The line of a set, whose photographs are asked for N_ASKED words, half of them there where it shows so many."""
    model, random = WordModel(segmenter, data), np.random.default_rng(0)
    words = [name for name in data.classes if name != BACKGROUND]
    segments: list[Scored] = []
    n_there = 0
    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        present = {data.classes[value] for value in np.unique(truth[truth < IGNORE])} - {BACKGROUND}
        there = random.permutation(sorted(present)).tolist()[: N_ASKED // 2]
        absent = random.permutation([word for word in words if word not in present]).tolist()
        asked = [*there, *absent[: N_ASKED - len(there)]]
        n_there += len(there)
        answer = model.answer(segmenter.encode(image), asked)
        segments += [Scored(len(asked), one.score, one.label in present) for one in answer.segments]
    right = np.array([one.is_there for one in segments])
    error = calibration_error(np.array([one.score for one in segments]), right)
    return f"| {data.name} | {right.mean():.2f} | {right.sum() / n_there:.2f} | {error:.3f} |"


def calibration(segments: Sequence[Scored], threshold: float) -> Iterator[str]:
    """Lines of the table of calibration errors."""
    yield "| list | all segments | kept by default | right of these |\n|---|---|---|---|"
    for n_words in sorted({one.n_words for one in segments}):
        score, right = (np.array([one[field] for one in segments if one.n_words == n_words]) for field in (1, 2))
        kept = score >= threshold
        errors = calibration_error(score, right), calibration_error(score[kept], right[kept])
        share = right[kept].mean() if kept.any() else np.nan
        yield f"| {n_words} | {errors[0]:.3f} | {errors[1]:.3f} | {share:.2f} |"


def thresholds(segments: Sequence[Scored], n_there: int, counts: dict[float, Counts]) -> Iterator[str]:
    """Lines of the table of thresholds, for segments of SIX."""
    yield "| threshold | precision | recall | mIoU |\n|---|---|---|---|"
    score, right = np.array([one.score for one in segments]), np.array([one.is_there for one in segments])
    for threshold, total in counts.items():
        kept = score >= threshold
        miou = scores(total).miou
        yield f"| {threshold:.2f} | {right[kept].mean():.3f} | {right[kept].sum() / n_there:.3f} | {miou:.1f} |"


def thefts(model: WordModel, features: Features, truth: NDArray[np.uint8]) -> Iterator[tuple[tuple[str, str], Theft]]:
    """What each class of PAIRS loses to the other in a photograph that shows only the first."""
    present = set(np.unique(truth).tolist())
    for pair in (*PAIRS, *((other, one) for one, other in PAIRS)):
        own, other = (model.classes.index(word) for word in pair)
        if own not in present or other in present:
            continue
        alone, sibling, both = (model.values(model.answer(features, words)) for words in (pair[:1], pair[1:], pair))
        inside, counted = truth == own, truth != IGNORE
        ious = [
            float((inside & (found == own)).sum() / ((inside | (found == own)) & counted).sum())
            for found in (alone, both)
        ]
        yield pair, Theft(ious[0], ious[1], float((sibling[inside] == other).mean()))


def _in_six(classes: Sequence[str], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mask values of a data set -> index in SIX from 1; 0 for other classes."""
    index = np.zeros(IGNORE + 1, np.uint8)
    index[[classes.index(word) for word in SIX]] = np.arange(1, len(SIX) + 1)
    index[IGNORE] = IGNORE
    return index[labels]


def measure(segmenter: Segmenter, data: IndexedDataset) -> Iterator[str]:
    """Ask for every list of words in every photograph; lines of the tables."""
    model, words = WordModel(segmenter, data), [name for name in data.classes if name != BACKGROUND]
    lists = [*([word] for word in words), SIX, words]
    segments: list[Scored] = []
    counts, n_there = {threshold: np.zeros((3, len(SIX) + 1), np.int64) for threshold in THRESHOLDS}, 0
    stolen: dict[tuple[str, str], list[Theft]] = {}
    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        features, present = segmenter.encode(image), {data.classes[value] for value in np.unique(truth[truth < IGNORE])}
        for some in lists:
            answer = model.answer(features, some, threshold=0.0)
            segments += [Scored(len(some), one.score, one.label in present) for one in answer.segments]
            if some is SIX:
                n_there += len(present & {*SIX})
                for threshold in THRESHOLDS:
                    labels = _in_six(data.classes, model.values(answer, threshold))
                    counts[threshold] += count(_in_six(data.classes, truth), labels, len(SIX) + 1)
        for pair, theft in thefts(model, features, truth):
            stolen.setdefault(pair, []).append(theft)
    rule = segmenter.card.score
    yield from calibration(segments, rule.threshold if rule else 0.0)
    yield ""
    yield from thresholds([one for one in segments if one.n_words == len(SIX)], n_there, counts)
    yield "\n| class, similar class | IoU alone | beside it | the similar class alone paints | photographs |"
    yield "|---|---|---|---|---|"
    for pair, of_pair in stolen.items():
        alone, beside, painted = 100 * np.mean(of_pair, 0)
        yield f"| {', '.join(pair)} | {alone:.1f} | {beside:.1f} | {painted:.1f} % | {len(of_pair)} |"
    alone, beside, painted = 100 * np.mean([np.mean(of_pair, 0) for of_pair in stolen.values()], 0)
    yield f"| mean | {alone:.1f} | {beside:.1f} | {painted:.1f} % | |"


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser("benchmarks scores", description="Calibration and precision of words.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default="tiny")
    options = parser.parse_args(arguments)
    segmenter = catalogue.load(options.model, runtime="auto")
    print("| six words, half of them there | precision | recall | calibration error |\n|---|---|---|---|")
    for name in HALF_THERE:
        print(half_there(segmenter, read_dataset(options.root, name, "val")), flush=True)
    print()
    for line in measure(segmenter, read_dataset(options.root, SET, "val")):
        print(line, flush=True)
