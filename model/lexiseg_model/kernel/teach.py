"""What pictures teach, in C: samples of their cells, and directions of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


class Sampled(NamedTuple):
    """What n cells of a picture teach."""

    labels: NDArray[np.int16]  # [n]
    shares: NDArray[np.float32]  # [n] of the labelled cells
    cells: NDArray[np.float32]  # [n, F] teaching features
    text: NDArray[np.float32]  # [n, K] logits by words
    pixels: NDArray[np.uint8]  # [n, K + 1] how many of 16 pixels have each label


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
        np.empty((most, k + 1), np.uint8),
    )
    maps = decoded, *decoded.shape, middle, *middle.shape
    n = call("lesson", labels, *labels.shape, k, *maps, scores, most, *sample)
    return Sampled._make(part[:n] for part in sample)


class Learnt(NamedTuple):
    """What lessons teach of K classes."""

    directions: NDArray[np.float32]  # [K, F]
    text: NDArray[np.float32]  # [K] factors of their words
    # [3, K] of pixels in 0..1: by words, and as taught, of folds left out and of all; NaN: too few show the class.
    iou: NDArray[np.float64]
    counts: NDArray[np.int32]  # [2, K] how many lessons show a class, and how many more it wants
    # [K, S + 1] mean cell and squared radius of the pictures that have a class as taught; zeros: all.
    places: NDArray[np.float32]
    reported: NDArray[np.float64]  # as `iou`, but where a class has a place as found in left-out pictures that are like


def head(
    lessons: Sequence[Sequence[NDArray[Any]]],
    places: Sequence[NDArray[np.int32]],
    k: int,
    numbers: Sequence[float],
    size: int,
    stop: NDArray[np.int32],
) -> Learnt | int:
    """As `vocabulary.solving`: what lessons (cells, labels, shares, text, pixels) teach of K classes.

    `places` are the lesson's classes among the K, -1 for others; `numbers` the constants of `solving`, how many of the
    last lessons are never left out and of the first numbers of cells do not say which pictures are alike (the others
    are `size`), and whether like pictures teach something of their own. Returns the only label instead if all cells
    have that. Raises StoppedError: another thread set `stop` [1].
    """
    cells, labels, shares, text, pixels = zip(*lessons, strict=True)
    f = cells[0].shape[1]
    sizes = np.array([part.shape for part in text], np.int64)
    rows = np.ascontiguousarray(np.concatenate(cells)), np.concatenate(labels), np.concatenate(shares)
    by_class = [np.concatenate([part.ravel() for part in parts]) for parts in (text, pixels)]
    learnt = Learnt(
        np.empty((k, f), np.float32),
        np.empty(k, np.float32),
        np.empty((3, k)),
        np.empty((2, k), np.int32),
        np.empty((k, size + 1), np.float32),
        np.empty((3, k)),
    )
    shapes = len(lessons), f, k
    constants = np.array(numbers, np.float64)
    only = call("head", *rows, *by_class, sizes, np.concatenate(places), *shapes, constants, *learnt, stop)
    return only - 1 if only else learnt
