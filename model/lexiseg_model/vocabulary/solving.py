"""Solve a head from lessons: ridge regression of the labels on the cells, regularised towards the scores of words.

A class's cells weigh as the square root of how many there are, so that neither large things nor common ones drown the
rest. Lessons in which a class was not looked for say nothing about it: classes that were looked for in the same
pictures share one matrix [F, F].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import TeachingError
from lexiseg_model.vocabulary.heads import Head, Lesson, TaughtClass, require_classes, require_lessons

STRENGTH = 0.1  # of the ridge, in variances of each feature
SCALE = 10.0  # logits between a class and the others, where the cells fit it exactly
MAX_TEXT = 10.0  # logits by words count up to here while solving
WORDS_PICTURES = 3  # pictures from which a class's words count for half
FOLDS = 20  # of the report; up to so many pictures, each is left out on its own
WANTED = 10  # pictures of a class from which more of them gain little

Numbers = NDArray[np.float64]


class Cells(NamedTuple):
    """The cells of all lessons: features [N, F], labels [N] in the head's classes (K: none of them; -1: unknown),
    weights [N], shares of their picture [N], logits by words [N, K], the lesson [N] of each."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: Numbers
    shares: Numbers
    text: Numbers
    lesson: NDArray[np.int64]


def solve(lessons: Sequence[Lesson], classes: Sequence[str]) -> Head:
    """The head of the lessons of one model, and its report.

    Args:
        lessons: of reviewed pictures.
        classes: names in the order of the head's vocabulary; one that no lesson shows keeps the score of its words.

    Raises:
        TeachingError: no class or lesson, too many of them, or all cells have one label.
        ForeignLessonError: the lessons are of different models.
    """
    require_classes(classes)
    require_lessons(lessons)
    cells = _gathered(lessons, classes)
    directions, text = _fit(cells, len(classes))
    shown = [len(np.unique(cells.lesson[cells.labels == index])) for index in range(len(classes))]
    words, taught = _held_out(cells, len(classes), len(lessons))
    entries = tuple(
        TaughtClass(name, pictures, before, after, max(0, WANTED - pictures))
        for name, pictures, before, after in zip(classes, shown, words, taught, strict=True)
    )
    return Head(lessons[0].digest, entries, directions.astype(np.float32), text.astype(np.float32), len(lessons))


def _gathered(lessons: Sequence[Lesson], classes: Sequence[str]) -> Cells:
    """The cells of lessons. Raises TeachingError: all have one label."""
    k = len(classes)
    labels, text = [], []
    for lesson in lessons:
        places = np.array([classes.index(name) if name in classes else -1 for name in lesson.classes] + [k])
        labels.append(places[lesson.labels])
        own = np.full((len(lesson.labels), k), np.nan)  # not looked for
        known = places[:-1] >= 0
        own[:, places[:-1][known]] = lesson.text[:, known]
        text.append(own)
    every = np.concatenate(labels)
    shares = np.concatenate([lesson.shares for lesson in lessons]).astype(np.float64)
    if len(np.unique(every)) < 2:
        only = "none of the classes" if every.max(initial=-1) in (-1, k) else repr(classes[every.max()])
        raise TeachingError(f"all labelled pixels are {only}; expected pixels of at least two classes, or of nothing")
    return Cells(
        np.concatenate([lesson.cells for lesson in lessons]).astype(np.float32),
        every,
        _weights(every, shares, k),
        shares,
        np.concatenate(text),
        np.repeat(np.arange(len(lessons)), [len(lesson.labels) for lesson in lessons]),
    )


def _weights(labels: NDArray[np.int64], shares: Numbers, k: int) -> Numbers:
    """Weights [N] of cells: those of a class together weigh as the root of its share; the sum is 1."""
    total = np.zeros(k + 2)
    np.add.at(total, labels, shares)
    weights: Numbers = np.where(labels >= 0, shares / np.sqrt(np.maximum(total[labels], 1e-12)), 0.0)
    return weights * (1 / float(weights.sum()))


def _fit(cells: Cells, k: int) -> tuple[Numbers, Numbers]:
    """Directions [K, F] and factors of the text [K]."""
    f = cells.features.shape[1]
    directions, factors = np.zeros((k, f)), np.ones(k)
    looked_for = ~np.isnan(cells.text)
    shown = np.array([len(np.unique(cells.lesson[cells.labels == index])) for index in range(k)])
    factors[shown > 0] = 1 / (1 + shown[shown > 0] / WORDS_PICTURES)
    for pattern in np.unique(looked_for[:, shown > 0], axis=1).T:
        same = np.flatnonzero((looked_for == pattern[:, None]).all(0) & (shown > 0))
        rows = np.flatnonzero(pattern & (cells.labels >= 0))
        targets = (cells.labels[rows, None] == np.append(same, k)).astype(np.float64)
        prior = factors[same] * np.clip(cells.text[np.ix_(rows, same)], -MAX_TEXT, MAX_TEXT) / SCALE
        targets[:, :-1] -= prior
        fitted = _ridge(cells.features[rows], targets, cells.weights[rows])
        nobody = fitted[:, -1].copy()
        if not (cells.labels[rows] == k).any():
            nobody[-1] = 0.5  # a class wins where it is more probable than not
        directions[same] = SCALE * (fitted[:, :-1] - nobody[:, None]).T
    return directions, factors


def _ridge(features: NDArray[np.float32], targets: Numbers, weights: Numbers) -> Numbers:
    """The weights [F, T] that predict targets [n, T] from features [n, F], whose last is 1."""
    weighted = features * weights[:, None].astype(np.float32)
    matrix = (features.T @ weighted).astype(np.float64)
    means = weighted.sum(0, dtype=np.float64) / weights.sum()
    ridge = np.maximum(np.diag(matrix) - weights.sum() * means**2, 0) * STRENGTH
    ridge[:-1] += 1e-6 * float(matrix.max())
    matrix[np.diag_indices_from(matrix)] += ridge
    solution: Numbers = np.linalg.solve(matrix, weighted.T.astype(np.float64) @ targets)
    return solution


def _held_out(cells: Cells, k: int, n_lessons: int) -> tuple[list[float | None], list[float | None]]:
    """IoU in percent of each class by words and by heads that did not see the picture; None: one picture shows it."""
    fold = cells.lesson % FOLDS
    taught = np.full((len(cells.labels), k + 1), 0.0)
    words = np.concatenate([np.nan_to_num(cells.text, nan=-np.inf), np.zeros((len(cells.labels), 1))], 1)
    for left_out in range(min(FOLDS, n_lessons) if n_lessons > 1 else 0):
        seen, held = fold != left_out, fold == left_out
        directions, factors = _fit(Cells(*(part[seen] for part in cells)), k)
        taught[held, :-1] = cells.features[held] @ directions.T + factors * words[held, :-1]
    return _iou(cells, words, k), _iou(cells, taught, k) if n_lessons > 1 else [None] * k


def _iou(cells: Cells, scores: Numbers, k: int) -> list[float | None]:
    known = cells.labels >= 0
    truth, won = cells.labels[known], scores[known].argmax(1)
    table = np.zeros((k + 1, k + 1))
    np.add.at(table, (truth, won), cells.shares[known])
    union = table.sum(0) + table.sum(1) - np.diag(table)
    lessons = [len(np.unique(cells.lesson[cells.labels == index])) for index in range(k)]
    return [
        round(100 * float(table[index, index] / union[index]), 1) if lessons[index] > 1 else None for index in range(k)
    ]
