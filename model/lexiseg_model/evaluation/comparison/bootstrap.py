"""How sure a difference is: photographs are drawn anew, with replacement, and the same ones for both models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.evaluation.comparison.photograph import COLUMNS, OTHERS, Examined

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percent of the resamples' differences that lie below its ends
ABSENT = "an absent class paints"
MEASURES = (*COLUMNS, "presence AUC", "recall alone", *(f"kept with {n} more" for n in OTHERS[1:]), ABSENT)
NAN = float("nan")

Weights = NDArray[np.float64]  # [R, P]: how often each of P photographs was drawn in each of R resamples


class Difference(NamedTuple):
    """Of one measure, in percent: both models, B less A, the interval of that, and B's share of resamples.

    `a_error` and `b_error` are standard deviations over the resamples. A resample in which both are equal counts half
    for each; of what an absent class paints less is better. NaN where there was nothing to measure.
    """

    measure: str
    a: float
    a_error: float
    b: float
    b_error: float
    difference: float
    low: float
    high: float
    in_favour: float


def compare(a: Sequence[Examined], b: Sequence[Examined], seed: int = 0) -> list[Difference]:
    """Differences by measure of two models on the same photographs, in the same order."""
    weights = _weights(len(a), seed)
    of_a, of_b = measure(a, weights), measure(b, weights)
    return [_difference(name, of_a[name], of_b[name]) for name in MEASURES]


def compare_counts(
    name: str, a: Sequence[NDArray[np.int64]], b: Sequence[NDArray[np.int64]], seed: int = 0
) -> Difference:
    """The difference in mIoU of two models by their counts [3, K] of the same photographs, in the same order."""
    weights = _weights(len(a), seed)
    return _difference(name, _miou(np.stack(a), weights), _miou(np.stack(b), weights))


def measure(records: Sequence[Examined], weights: Weights) -> dict[str, NDArray[np.float64]]:
    """Every measure [R] in percent, of photographs weighted by each of R rows."""
    counts = np.stack([record.counts for record in records])  # [P, 4, 3, K]
    found = {name: _miou(counts[:, column], weights) for column, name in enumerate(COLUMNS)}
    found["presence AUC"] = 100 * _auc(records, weights)
    recall = weights @ np.stack([record.recall for record in records])  # [R, 4]
    with np.errstate(invalid="ignore", divide="ignore"):
        found["recall alone"] = 100 * recall[:, 0] / (weights @ [record.asked for record in records])
        for column, n in enumerate(OTHERS[1:], 1):
            found[f"kept with {n} more"] = 100 * recall[:, column] / recall[:, 0]
        painted = np.array([record.painted for record in records])
        found[ABSENT] = 100 * (weights @ np.nan_to_num(painted)) / (weights @ ~np.isnan(painted))
    return found


def _weights(n: int, seed: int) -> Weights:
    """Rows for n photographs: each once, and then the resamples."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return np.concatenate([np.ones((1, n)), drawn])


def _difference(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    known = ~np.isnan(b - a)
    known[0] = False  # is no resample
    if not known.any():
        return Difference(name, float(a[0]), NAN, float(b[0]), NAN, float(b[0] - a[0]), NAN, NAN, NAN)
    differences = (b - a)[known]
    low, high = np.percentile(differences, INTERVAL)
    better = differences < 0 if name == ABSENT else differences > 0
    share = (np.sum(better) + np.sum(differences == 0) / 2) / len(differences)
    figures = (a[0], a[known].std(), b[0], b[known].std(), b[0] - a[0], low, high, 100 * share)
    return Difference(name, *(float(figure) for figure in figures))


def _miou(counts: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """[R] over the classes that a resample's truth contains, as `counts.scores` by detectron2: [P, 3, K] and [R, P]."""
    hits, truth, predicted = np.moveaxis(
        (weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:]), 1, 0
    )
    there = truth > 0
    ious = np.divide(hits, truth + predicted - hits, out=np.zeros_like(hits), where=there)
    mean: NDArray[np.float64] = np.full(len(hits), np.nan)
    np.divide(100 * ious.sum(1), there.sum(1), out=mean, where=there.any(1))
    return mean


def _auc(records: Sequence[Examined], weights: Weights) -> NDArray[np.float64]:
    """[R] how often a photograph that shows a class has more presence of it than one that does not; ties count half.

    The mean over the classes that some of a resample's photographs show and others do not. Photographs are told
    apart, and not classes: that sky is commoner than boats is no knowledge of a picture.
    """
    presence = np.stack([record.presence for record in records])  # [P, K]
    there = np.stack([record.there for record in records])
    known = ~np.isnan(presence).any(0)
    areas = [_area(presence[:, k], there[:, k], weights) for k in np.flatnonzero(known)]
    total, defined = np.nansum(areas, 0), (~np.isnan(areas)).sum(0)
    mean: NDArray[np.float64] = np.full(len(weights), np.nan)
    np.divide(total, defined, out=mean, where=defined > 0)
    return mean


def _area(value: NDArray[np.float64], there: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """[R] area under the curve of one class; NaN where all weighted photographs show it, or none."""
    order = np.argsort(value, kind="stable")
    weight = weights[:, order]
    below = np.cumsum(np.where(there[order], 0, weight), 1)
    _, first, group = np.unique(value[order], return_index=True, return_inverse=True)
    last = np.append(first[1:], len(order)) - 1
    before = np.where(first > 0, below[:, first - 1], 0)  # absent ones strictly below a group of equal values
    rank = ((before + below[:, last]) / 2)[:, group]
    right = (np.where(there[order], weight, 0) * rank).sum(1)
    pairs = (weight.sum(1) - below[:, -1]) * below[:, -1]
    area: NDArray[np.float64] = np.full(len(weights), np.nan)
    np.divide(right, pairs, out=area, where=pairs > 0)
    return area
