"""The parts check: parts of things, asked together with their whole and by themselves, on photographs of VOC's
validation split.

A part is what its boxes hold of its whole. Of a whole that is asked with a part, only the rest is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.by_words.everyday import MIN_SHARE, Outcome, Question, of_words, outcomes
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.indexed import IGNORE, evenly_spread, read_dataset
from lexiseg_train.methods.tiny.directions.cells import NOTHING, Part, Parts

SET, SPLIT = "voc", "val"
MAX_PHOTOGRAPHS = 100


class PartsFigures(NamedTuple):
    """In percent, and the mean IoU: of parts with their whole, the same wholes, and parts by themselves."""

    parts: int
    found: float
    nothing: float
    iou: float
    whole_found: float
    whole_iou: float
    found_without_whole: float
    nothing_without_whole: float
    iou_without_whole: float


class Photograph(NamedTuple):
    """A photograph [H, W, 3], its mask [H, W] of `classes`, and its parts."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    classes: tuple[str, ...]
    parts: list[Part]


def photographs(root: Path, marked: Parts, name: str, split: str, most: int) -> Iterator[Photograph]:
    """At most so many photographs with parts of a set below a folder of data sets."""
    data = read_dataset(root, name, split)
    samples = [sample for sample in data.samples if (name, sample.name) in marked.of]
    for sample in evenly_spread(samples, most):
        yield Photograph(*sample.read(len(data.classes)), data.classes, marked.of[name, sample.name])


def questions(photograph: Photograph, marked: Parts, min_share: float = MIN_SHARE) -> Iterator[Question]:
    """A question for each kind of part that covers that share of a photograph: its wholes, then the part."""
    for name in sorted({part.name for part in photograph.parts}):
        some = [part for part in photograph.parts if part.name == name]
        values = marked.mask(some, photograph.mask, photograph.classes)
        value = len(photograph.classes)
        mask = np.where(values == NOTHING, photograph.mask, np.where(values == IGNORE, IGNORE, value)).astype(np.uint8)
        if (mask == value).mean() >= min_share:
            wholes = {photograph.classes.index(whole): whole for whole in sorted({part.of for part in some})}
            yield Question(photograph.image, mask, wholes | {value: name})


def check(segmenter: Segmenter, root: Path) -> PartsFigures:
    """Measure a model on the photographs below `root`."""
    rows_of, marked = KnownRows(segmenter), Parts(root, SPLIT)
    parts: list[Outcome] = []
    wholes: list[Outcome] = []
    by_themselves: list[Outcome] = []
    for photograph in photographs(root, marked, SET, SPLIT, MAX_PHOTOGRAPHS):
        features = segmenter.encode(photograph.image)
        for question in questions(photograph, marked):
            *rest, part = outcomes(segmenter, features, question, Background(), rows_of)
            parts.append(part)
            wholes += rest
            value = max(question.words)
            lone = question._replace(words={value: question.words[value]})
            by_themselves += outcomes(segmenter, features, lone, Background(), rows_of)
    whole = of_words(wholes)
    figures = (*of_words(parts), whole[0], whole[2], *of_words(by_themselves))
    return PartsFigures(len(parts), *(round(100 * figure, 1) for figure in figures))
