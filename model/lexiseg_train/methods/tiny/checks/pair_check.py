"""The pair check: two photographs of different animals side by side, asked for both, as one photograph.

An object that is woven of both names is wrong, even where most of it is right. No training has the photographs: they
are of VOC's validation split, and of the everyday check.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.indexed import CLASSES, IGNORE, Sample, read_classes, read_dataset
from lexiseg_train.methods.tiny.checks.everyday_check import EVERYDAY

ANIMALS = ("bird", "cat", "cow", "dog", "horse", "sheep")  # of VOC
HEIGHT = 288  # pixels of a pair
MIN_SHARE = 0.05  # of a photograph that its animal covers
ONE_NAME = 0.9  # share of an object's named pixels from which it has one name


class PairFigures(NamedTuple):
    """In percent of the objects: with one name, with one name that is right, with none."""

    objects: int
    one_name: float
    right: float
    nothing: float


class Object(NamedTuple):
    """A photograph of one kind of animal, and where it is."""

    name: str
    image: NDArray[np.uint8]
    inside: NDArray[np.bool_]


def photographs(root: Path) -> Iterator[Object]:
    """The photographs below a folder of data sets that show one kind of animal, large enough."""
    voc = read_dataset(root, "voc", "val")
    yield from _alone(voc.samples, voc.classes, ANIMALS)
    stems: list[str] = json.loads(EVERYDAY.read_text(encoding="utf-8"))["animals"]
    classes, split = read_classes(root / "animals" / CLASSES), root / "animals" / "train"
    samples = (Sample(split / "images" / f"{stem}.jpg", split / "masks" / f"{stem}.png") for stem in stems)
    yield from _alone(samples, classes, classes[1:])


def _alone(samples: Iterable[Sample], classes: tuple[str, ...], names: tuple[str, ...]) -> Iterator[Object]:
    for sample in samples:
        image, mask = sample.read(len(classes))
        values = [int(value) for value in np.setdiff1d(np.unique(mask), [0, IGNORE])]
        if len(values) == 1 and classes[values[0]] in names and (mask == values[0]).mean() >= MIN_SHARE:
            yield Object(classes[values[0]], image, mask == values[0])


def check(segmenter: Segmenter, root: Path) -> PairFigures:
    """Measure a model; each photograph is the left one of a pair once."""
    objects, rows_of = [*photographs(root)], KnownRows(segmenter)
    outcomes = []
    for number, left in enumerate(objects):
        others = [other for other in objects if other.name != left.name]
        right = others[int(np.random.default_rng(number).integers(len(others)))]
        outcomes += named(segmenter, left, right, rows_of)
    one_name, is_right, nothing = 100 * np.array(outcomes, float).mean(0)
    return PairFigures(len(outcomes), *(round(float(figure), 1) for figure in (one_name, is_right, nothing)))


def named(segmenter: Segmenter, left: Object, right: Object, rows_of: KnownRows) -> list[tuple[bool, bool, bool]]:
    """Of both objects of a pair: whether it has one name, whether that is its own, and whether it has none."""
    (one, one_inside), (other, other_inside) = map(_at_height, (left, right))
    vocabulary = Vocabulary((ClassEntry(left.name), ClassEntry(right.name)), Background())
    features = segmenter.encode(np.concatenate([one, other], 1))
    answer = tasks.segment("semantic", segmenter, features, vocabulary, rows_of=rows_of)
    masks = {segment.class_index: decode(segment.mask).astype(bool) for segment in answer.segments}
    outcomes = []
    for own, inside in ((0, (one_inside, np.zeros_like(other_inside))), (1, (np.zeros_like(one_inside), other_inside))):
        where = np.concatenate(inside, 1)
        counts = np.array([(masks[index] & where).sum() if index in masks else 0 for index in (0, 1)])
        total = int(counts.sum())
        alone = total > 0 and counts.max() >= ONE_NAME * total
        outcomes.append((bool(alone), bool(alone and counts.argmax() == own), total == 0))
    return outcomes


def _at_height(each: Object) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = each.inside.shape
    size = (round(width * HEIGHT / height), HEIGHT)
    image = cv2.resize(each.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return image, cv2.resize(each.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    # As it is served: in 8 bits where the folder has graphs.
    print(check(catalogue.load_folder(Path(sys.argv[2]), "cpu", runtime="auto"), Path(sys.argv[1])))
