"""The everyday check: plain words for what photographs show, asked as people ask, with masks to judge the answers.

`everyday.json` lists the photographs by set, drawn once; no training of `tiny` sees them. A photograph is asked for
what its mask says is there, all at once: by default, and with `background: false`. Then it is asked for things that it
does not show, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND, is_thing
from lexiseg_train.data.indexed import CLASSES, IGNORE, Sample, read_classes
from lexiseg_train.methods.tiny.sources import EVERYDAY
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook

MIN_SHARE = 0.005  # of a photograph; nobody asks for less
MIN_IOU = 0.5  # IoU from which a word is found
UNLIKE = 0.55  # cosine with every word that is there, below which another one is not
LENGTHS = (1, 6, 20)  # of the lists that ask for absent words, too


class EverydayFigures(NamedTuple):
    """In percent of the words, and the mean IoU. `sure`: of words with a score over 0.9, the found ones.

    `painted_of_one`, `_six`, `_twenty`: of absent words the ones that get a segment, in lists of that length.
    """

    words: int
    found: float
    nothing: float
    iou: float
    sure: float
    found_without_background: float
    nothing_without_background: float
    iou_without_background: float
    painted_of_one: float
    painted_of_six: float
    painted_of_twenty: float


class Question(NamedTuple):
    """A photograph, its mask of class indices, the words that are asked for by mask value, and the set's names."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    words: dict[int, str]
    names: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """Of one word: IoU within the labelled pixels, its score (0: no segment), and whether a segment was given."""

    iou: float
    score: float


def photographs(root: Path) -> Iterator[Question]:
    """The photographs of the check below a folder of data sets."""
    listing: dict[str, list[str]] = json.loads(EVERYDAY.read_text(encoding="utf-8"))
    for name, stems in listing.items():
        classes = read_classes(root / name / CLASSES)
        for stem in stems:
            split = root / name / "train"
            image, mask = Sample(split / "images" / f"{stem}.jpg", split / "masks" / f"{stem}.png").read(len(classes))
            if words := words_in(mask, classes):
                yield Question(image, mask, words, classes)


def words_in(mask: NDArray[np.uint8], classes: tuple[str, ...]) -> dict[int, str]:
    """The classes of a mask that cover enough of it, by mask value."""
    areas = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    return {
        value: name
        for value, name in enumerate(classes)
        if name != BACKGROUND and areas[value] >= MIN_SHARE * mask.size
    }


def outcomes(
    segmenter: Segmenter, features: Features, question: Question, background: Background | None, rows_of: KnownRows
) -> list[Outcome]:
    """What comes of each word of a photograph with these features."""
    classes = tuple(ClassEntry(word, thing=is_thing(word)) for word in question.words.values())
    vocabulary = segmenter.explained(Vocabulary(classes, background))
    answer = tasks.segment("semantic", segmenter, features, vocabulary, rows_of=rows_of)
    segments = {segment.class_index: segment for segment in answer.segments}
    labelled = question.mask != IGNORE
    results = []
    for index, value in enumerate(question.words):
        if (segment := segments.get(index)) is None:
            results.append(Outcome(0.0, 0.0))
            continue
        prediction, truth = decode(segment.mask).astype(bool) & labelled, question.mask == value
        results.append(Outcome(float((prediction & truth).sum() / (prediction | truth).sum()), segment.score))
    return results


def painted(
    segmenter: Segmenter, features: Features, question: Question, length: int, absent: list[str], rows_of: KnownRows
) -> list[bool]:
    """Of a list of that length which of the absent words get a segment; half of it, at most, is there."""
    there = [*question.words.values()][: length // 2]
    absent = np.random.default_rng(question.mask.size + length).permutation(absent).tolist()
    words = [*there, *absent[: length - len(there)]]
    vocabulary = segmenter.explained(
        Vocabulary(tuple(ClassEntry(word, thing=is_thing(word)) for word in words), Background())
    )
    answer = tasks.segment("semantic", segmenter, features, vocabulary, rows_of=rows_of)
    painted_classes = {segment.class_index for segment in answer.segments}
    return [index in painted_classes for index in range(len(there), len(words))]


def absent_words(question: Question, book: TextBook, rows_of: KnownRows) -> list[str]:
    """Names of the photograph's set and rare ones that are like nothing that it shows."""
    present = [*question.words.values()]
    beside = {word for group in book.overlaps if not {*group}.isdisjoint(present) for word in group}
    unlike = {BACKGROUND, *present, *beside}
    words = [word for word in dict.fromkeys((*question.names, *book.rare)) if word not in unlike]
    rows = [rows_of([TEMPLATE.format(word) for word in some]).astype(np.float32) for some in (words, present)]
    return [word for word, like in zip(words, (rows[0] @ rows[1].T).max(1), strict=True) if like < UNLIKE]


def check(segmenter: Segmenter, root: Path) -> EverydayFigures:
    """Measure a model on the photographs below `root`."""
    rows_of, book = KnownRows(segmenter), TextBook.read(TEXTS)
    by_default, everywhere = [], []
    absent: dict[int, list[bool]] = {length: [] for length in LENGTHS}
    for question in photographs(root):
        features = segmenter.encode(question.image)
        by_default += outcomes(segmenter, features, question, Background(), rows_of)
        everywhere += outcomes(segmenter, features, question, None, rows_of)
        others = absent_words(question, book, rows_of)
        for length, hits in absent.items():
            hits += painted(segmenter, features, question, length, others, rows_of)
    sure = [outcome.iou >= MIN_IOU for outcome in by_default if outcome.score > 0.9]
    shares = [float(np.mean(hits)) for hits in absent.values()]
    figures = (*of_words(by_default), float(np.mean(sure)) if sure else 0.0, *of_words(everywhere), *shares)
    return EverydayFigures(len(by_default), *(round(100 * figure, 1) for figure in figures))


def of_words(words: list[Outcome]) -> tuple[float, float, float]:
    """Shares of words that are found and that get nothing, and their mean IoU."""
    iou = np.array([word.iou for word in words])
    return float((iou >= MIN_IOU).mean()), float(np.mean([word.score == 0 for word in words])), float(iou.mean())
