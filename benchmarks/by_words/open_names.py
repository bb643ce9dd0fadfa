"""The open check: what a network of `tiny` knows of names that no crop of its training asks for.

`open_names.json` holds the names, drawn once of the photographs with one object and of the boxes. Weights are
chosen by these figures and by the sets' mIoU together: tuning on a few sets forgets what they do not contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_train.data.indexed import read_photograph
from lexiseg_train.methods.tiny.pretrained import NAMES
from lexiseg_train.methods.tiny.trainer import OPEN_NAMES

NAMED_SETS = ("labels", "fair-labels")
BOXED_SETS = ("aquarium",)
OTHERS = 5  # words that are asked for with the right one


class OpenFigures(NamedTuple):
    """In percent; 50, 17 and the boxes' share of the area are chance.

    Names that the trunk knew are among ImageNet's classes, on which the published trunk was trained.

    `presence`: area under the curve of a name's presence, photographs with it against all others, mean of the names.
    `presence_known`, `presence_new`: the same of names that the trunk knew, and of all others.
    `first`: of six words the right one is the most present, over the names of photographs.
    `first_known`, `first_new`: the same by kind of name.
    `pointed`: the best pixel of a name is in one of its boxes.
    """

    presence: float
    presence_known: float
    presence_new: float
    first: float
    first_known: float
    first_new: float
    pointed: float


class Photograph(NamedTuple):
    """A photograph, the open names that it shows, and their boxes as (x0, y0, x1, y1) in pixels."""

    path: Path
    names: tuple[str, ...]
    boxes: dict[str, list[list[float]]]


def photographs(root: Path, names: frozenset[str]) -> Iterator[Photograph]:
    """The photographs of the check below a folder of data sets."""
    for name in NAMED_SETS:
        listing: dict[str, list[str]] = json.loads((root / name / "labels.json").read_text())
        paths = {path.name: path for path in (root / name).glob("**/*.jpg")}
        for file, present in sorted(listing.items()):
            if labels := tuple(sorted(names.intersection(present))):
                yield Photograph(paths[file], labels, {})
    for name in BOXED_SETS:
        for entry in json.loads((root / name / "boxes.json").read_text())["images"]:
            boxes: dict[str, list[list[float]]] = {}
            for box in entry["boxes"]:
                boxes.setdefault(box["name"], []).append(box["xyxy"])
            if labels := tuple(sorted(names.intersection(boxes))):
                yield Photograph(root / name / "images" / entry["file"], labels, boxes)


def check(segmenter: Segmenter, root: Path) -> OpenFigures:
    """Measure a model; the other words are drawn by a photograph's number, the same for every model."""
    names = sorted(json.loads(OPEN_NAMES.read_text(encoding="utf-8")))
    of_trunk = np.array([name.lower() in trunk_names() for name in names])
    entries = {name: segmenter.explained(Vocabulary((ClassEntry(name),))).classes[0] for name in names}
    every, rows_of = Vocabulary(tuple(entries.values())), KnownRows(segmenter)
    presence, truth, first, pointed = [], [], [], []
    for number, photograph in enumerate(photographs(root, frozenset(names))):
        features = segmenter.encode(read_photograph(photograph.path))
        scores = segmenter.whole_image(features, bank_of(segmenter, every, rows_of))
        presence.append(scores[: len(names)].cpu().numpy())
        truth.append([name in photograph.names for name in names])
        random = np.random.default_rng(number)
        absent = sorted(set(names) - set(photograph.names))
        for name in photograph.names:
            words = [name, *random.choice(absent, OTHERS, replace=False).tolist()]
            bank = bank_of(segmenter, Vocabulary(tuple(entries[word] for word in words)), rows_of)
            first.append((names.index(name), is_most_present(segmenter.presence(features, bank), len(words))))
            if name in photograph.boxes:
                place = best_pixel(words_of(segmenter).class_scores(features, bank), features)
                pointed.append(any(is_inside(place, box) for box in photograph.boxes[name]))
    areas = _areas(np.array(presence), np.array(truth))
    position, is_first = np.array(first).T
    figures = (*_by_kind(areas, of_trunk), *_by_kind(is_first, of_trunk[position]), float(np.mean(pointed)))
    return OpenFigures(*(round(100 * figure, 1) for figure in figures))


def trunk_names() -> frozenset[str]:
    """Names of the classes that the published trunk was trained on, in lower case."""
    return frozenset(name.lower() for name in json.loads(NAMES.read_text(encoding="utf-8"))["leaves"])


def is_most_present(presence: Tensor, n_words: int) -> bool:
    """Whether the first of the words is the most present; background words, which follow them, do not compete."""
    return int(presence[:n_words].argmax()) == 0


def best_pixel(scores: Tensor, features: Features) -> tuple[float, float]:
    """(x, y) in pixels of the photograph where the first of the classes [K, h, w] is most probable."""
    likely = scores.softmax(0)[0]
    row, column = divmod(int(likely.argmax()), likely.shape[1])
    height, width = features.size
    return (column + 0.5) * width / likely.shape[1], (row + 0.5) * height / likely.shape[0]


def is_inside(place: tuple[float, float], box: list[float]) -> bool:
    return box[0] <= place[0] <= box[2] and box[1] <= place[1] <= box[3]


def _by_kind(values: NDArray[Any], of_trunk: NDArray[np.bool_]) -> tuple[float, float, float]:
    return float(np.nanmean(values)), float(np.nanmean(values[of_trunk])), float(np.nanmean(values[~of_trunk]))


def _areas(scores: NDArray[np.float32], shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each name the share of pairs (with it, without it) that its presence orders rightly; NaN if none shows it.

    Args:
        scores: [N, K] presence of names in photographs.
        shows: [N, K] whether they are there.
    """
    areas = np.full(shows.shape[1], np.nan)
    for column in range(shows.shape[1]):
        inside, outside = scores[shows[:, column], column], scores[~shows[:, column], column]
        if len(inside):
            areas[column] = (inside[:, None] > outside).mean() + 0.5 * (inside[:, None] == outside).mean()
    return areas
