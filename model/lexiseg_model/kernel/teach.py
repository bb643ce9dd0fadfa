"""What pictures teach, in C: samples of their cells, and directions of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


class Sampled(NamedTuple):
    """What a picture teaches: of n cells labels int16 [n], shares float32 [n] of the labelled cells, teaching features
    float32 [n, F], and logits float32 [n, K] by words."""

    labels: NDArray[np.int16]
    shares: NDArray[np.float32]
    cells: NDArray[np.float32]
    text: NDArray[np.float32]


def lesson(
    labels: NDArray[np.int16],
    decoded: NDArray[np.float16],
    middle: NDArray[np.float16],
    scores: NDArray[np.float32],
    most: int,
) -> Sampled:
    """As `methods.tiny.teaching.sampled`: labels [H, W], maps [128, h, w] and [120, h/4, w/4], scores [K + 1, h, w]."""
    k, n_features = len(scores) - 1, len(decoded) + len(middle) + 1
    sample = Sampled(
        np.empty(most, np.int16),
        np.empty(most, np.float32),
        np.empty((most, n_features), np.float32),
        np.empty((most, k), np.float32),
    )
    maps = decoded, *decoded.shape, middle, *middle.shape
    n = call("lesson", labels, *labels.shape, k, *maps, scores, most, *sample)
    return Sampled(sample.labels[:n], sample.shares[:n], sample.cells[:n], sample.text[:n])


class Learnt(NamedTuple):
    """What lessons teach of K classes: `directions` float32 [K, F], factors of their words `text` float32 [K], `iou`
    [2, K] in 0..1 of cells of left-out folds, by words and as learned, and `n_lessons` int32 [K], how many lessons
    show a class."""

    directions: NDArray[np.float32]
    text: NDArray[np.float32]
    iou: NDArray[np.float64]
    n_lessons: NDArray[np.int32]


def head(
    lessons: Sequence[tuple[NDArray[np.float16], NDArray[np.int16], NDArray[np.float32], NDArray[np.float16]]],
    places: Sequence[NDArray[np.int32]],
    k: int,
    numbers: Sequence[float],
    stop: NDArray[np.int32],
) -> Learnt | int:
    """As `vocabulary.solving`: what lessons (cells, labels, shares, text) teach of K classes.

    `places` are the lesson's classes among the K, -1 for others; `numbers` the constants of `solving`, and how many of
    the first numbers of cells do not say which pictures are alike and of the last lessons are never left out. Returns
    the only label instead if all cells have that. Raises StoppedError: another thread set `stop` [1].
    """
    cells, labels, shares, text = zip(*lessons, strict=True)
    f = cells[0].shape[1]
    sizes = np.array([part.shape for part in text], np.int64)
    rows = np.ascontiguousarray(np.concatenate(cells)), np.concatenate(labels), np.concatenate(shares)
    texts = np.concatenate([part.ravel() for part in text])
    learnt = Learnt(np.empty((k, f), np.float32), np.empty(k, np.float32), np.empty((2, k)), np.empty(k, np.int32))
    shapes = len(lessons), f, k
    constants = np.array(numbers, np.float64)
    only = call("head", *rows, texts, sizes, np.concatenate(places), *shapes, constants, *learnt, stop)
    return only - 1 if only else learnt
