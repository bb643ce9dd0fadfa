"""Calibrated scores: a logistic regression (`ScoreRule`) fitted on training photographs and random class lists.

Short lists are as people ask, for what they see: two thirds of the words are there, the others are drawn from all
classes of the data set. Long lists are fixed, most of their words absent; few classes are filled up with other words.
Long lists give many segments, so each length weighs the same. A segment is right if it holds some of its class: a
twentieth of its labelled pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.cards import ScoreRule
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.tasks.pixels import score_weights
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, Sample, evenly_spread
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook

PHOTOGRAPHS = 600  # of all data sets together, each in proportion to its size, evenly chosen
MIN_DRAWN_FROM = 20  # words; a set of one class would always show it
LENGTHS = (1, 1, 2, 2, 6, 6, 20, 100)  # of the lists for each photograph; short lists give few segments
SHORT = 6  # words
LIKELY = 2 / 3  # share of the words of a short list that are there
RIGHT = 0.05  # share of a segment's labelled pixels from which it is right
MIN_SHARE = 0.005  # share of the photograph's pixels from which a class is seen
LABELLED = 0.2  # share of its pixels from which a segment counts
THRESHOLD = 0.5  # of the rule: more likely right than wrong
RIDGE = 1.0  # small against the squares of thousands of segments
LENGTH = 2  # column of the inputs: ln of the list's length
STEPS, CONVERGED = 25, 1e-6  # of Newton's method, at most, and the change of all weights that ends it
BINS = 10  # of the calibration error


class Segments(NamedTuple):
    """Inputs of the rule [N, 4] (presence, log-odds, ln of the list's length, ln of the area), and which are right."""

    inputs: NDArray[np.float64]
    right: NDArray[np.bool_]


def gather(
    segmenter: Segmenter, data: IndexedDataset, photographs: int, rare: Sequence[str], seed: int = 0
) -> Segments:
    """Ask for random lists in some photographs, by mean probabilities, whatever the rule of the model's own card.

    `rare` are words that no photograph shows unless its data set names them."""
    random, rows_of = np.random.default_rng(seed), KnownRows(segmenter)
    card = segmenter.card
    segmenter.card = card.model_copy(update={"score": None})  # scores are then mean probabilities
    try:
        segments = [
            row
            for sample in evenly_spread(data.samples, photographs)
            for row in _judged(segmenter, rows_of, data, sample, rare, random)
        ]
    finally:
        segmenter.card = card
    rows = np.array(segments, np.float64).reshape(-1, 5)
    return Segments(rows[:, :4], rows[:, 4] > 0)


def logistic(
    inputs: NDArray[np.floating],
    right: NDArray[np.bool_],
    importance: NDArray[np.floating],
    ridge: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Weights [D] of a logistic regression of `right` [N] on `inputs` [N, D], by Newton's method on the log-likelihood.

    `importance` [N] is the weight of each row, `ridge` [D] half the penalty of each weight's square.
    """
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (importance * (right - likely)) - ridge * weights
        curvature = (inputs * (importance * likely * (1 - likely))[:, None]).T @ inputs + np.diag(ridge)
        change = np.linalg.solve(curvature, gradient)
        weights += change
        if np.abs(change).max() < CONVERGED:
            break
    return weights


def fit(segments: Segments) -> ScoreRule:
    inputs = np.column_stack([segments.inputs, np.ones(len(segments.inputs))])
    _, length, count = np.unique(segments.inputs[:, LENGTH], return_inverse=True, return_counts=True)
    importance = len(inputs) / len(count) / count[length]
    weights = logistic(inputs, segments.right, importance, np.full(inputs.shape[1], RIDGE))
    presence, probability, classes, area, bias = (round(float(weight), 3) for weight in weights)
    return ScoreRule(
        presence=presence, probability=probability, classes=classes, area=area, bias=bias, threshold=THRESHOLD
    )


def fit_scores(segmenter: Segmenter, train: Sequence[IndexedDataset], seed: int) -> ScoreRule:
    """Fit the rule of a model on the training splits of data sets, and print its calibration error there."""
    rare = TextBook.read(TEXTS).rare
    share = PHOTOGRAPHS / sum(len(data.samples) for data in train)
    parts = [gather(segmenter, data, math.ceil(share * len(data.samples)), rare, seed) for data in train]
    together = Segments(*map(np.concatenate, zip(*parts, strict=True)))
    rule = fit(together)
    error = calibration_error(scores(together, rule), together.right)
    print(f"score: {rule.model_dump()}; calibration error {error:.3f} on {len(together.right):,} segments", flush=True)
    return rule


def scores(segments: Segments, rule: ScoreRule) -> NDArray[np.float64]:
    weights = score_weights(rule).numpy()
    return np.asarray(1 / (1 + np.exp(-(segments.inputs @ weights[:4] + weights[4]))), np.float64)


def calibration_error(scored: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in 0..1, over BINS bins of equal width (Naeini et al., AAAI 2015)."""
    place = np.minimum((scored * BINS).astype(int), BINS - 1)
    gaps = [abs(scored[place == each].sum() - right[place == each].sum()) for each in range(BINS)]
    return float(sum(gaps) / max(1, len(scored)))


def _judged(
    segmenter: Segmenter,
    rows_of: RowsOf,
    data: IndexedDataset,
    sample: Sample,
    rare: Sequence[str],
    random: np.random.Generator,
) -> Iterator[list[float]]:
    image, truth = sample.read(len(data.classes))
    features = segmenter.encode(image)
    values = {name: value for value, name in data.named.items()}
    present = [name for name, value in values.items() if (truth == value).mean() >= MIN_SHARE]
    others = [word for word in rare if word not in values]
    for n_words in LENGTHS:
        words = _draw(list(values), present if n_words <= SHORT else [], others, n_words, random)
        vocabulary = segmenter.explained(Vocabulary(tuple(map(ClassEntry, words)), Background()))
        presence = segmenter.whole_image(features, bank_of(segmenter, vocabulary, rows_of)).tolist()
        for each in segment("semantic", segmenter, features, vocabulary, rows_of=rows_of).segments:
            assert each.class_index is not None
            under = truth[decode(each.mask)]
            labelled = under[under != IGNORE]
            if len(labelled) >= LABELLED * len(under):
                right = (labelled == values.get(words[each.class_index], -1)).mean() >= RIGHT
                odds = np.log(each.score / max(1 - each.score, 1e-6))
                area = each.area / truth.size
                yield [presence[each.class_index], odds, np.log(len(words)), np.log(area), right]


def _draw(
    names: Sequence[str], likely: Sequence[str], others: Sequence[str], n_words: int, random: np.random.Generator
) -> list[str]:
    """A list of words: up to two thirds are likely, the rest drawn from all names; others fill it up."""
    n_likely = int(LIKELY * n_words + random.random())
    first = random.permutation(likely).tolist()[:n_likely] if likely else []
    filling, n_filled = random.permutation(others).tolist(), max(0, MIN_DRAWN_FROM - len(names))
    rest = random.permutation([*(name for name in names if name not in first), *filling[:n_filled]]).tolist()
    return [*first, *rest, *filling[n_filled:]][:n_words]
