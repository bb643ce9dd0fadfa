"""Solve a head from lessons: ridge regression of the labels on the cells, regularised towards the scores of words.

A class's cells weigh as the square root of how many there are, so that neither large things nor common ones drown the
rest. Each fold's sums are taken once: a head that has seen neither a picture nor one like it, as for the report, is
solved from all sums but its fold's. Lessons in which a class was not looked for say nothing about it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import StoppedError, TeachingError
from lexiseg_model.kernel import library, teach
from lexiseg_model.kernel.teach import Learnt
from lexiseg_model.vocabulary.heads import (
    MAX_TEXT,
    UNKNOWN,
    Head,
    Lesson,
    TaughtClass,
    require_classes,
    require_lessons,
)

STRENGTH = 0.6  # of the ridge, in mean variances of the features; divided by the number of pictures
SCALE = 10.0  # logits between a class and the others, where the cells fit it exactly
WORDS_PICTURES = 10  # pictures from which a class's words count for half
# Pictures from which what is learned counts for half, words that know the class for the rest (infinite: only words);
# also in teach.c.
HALVES = 0.0, 0.5, 1.0, 2.0, 4.0
DOUBTFUL = np.inf, 32.0, 16.0, 8.0  # taken where classes that enough pictures show gain, too
ENOUGH = 3  # pictures
GAIN = 0.01  # of the mean IoU, that a doubt needs
FOLDS = 20  # of the report; up to so many pictures, each is left out with pictures like it
FEW_PICTURES = 5  # of a class, below which its IoU is a range
# Logits by which classes that words do not know must exceed none of them, after very many pictures, rising from 0 at
# FEW_PICTURES; also in teach.c. Photographs without the classes are painted a third less, and their IoU stays.
MARGIN = 1.5
ENOUGH_PICTURES = 10  # of a class, from which the learning curve says how many more it wants
FLAT = 0.01  # of the IoU that ENOUGH_PICTURES more would bring where the curve counts as flat
MAX_WANTS = 100  # pictures
TRAINING, HELD_OUT, HALF = range(3)  # ways in which a head answers about reviewed pictures: `Cells.parts`
TINY = 1e-6  # small against weights with a sum of 1
MIN_IOU_BY_WORDS = 0.1  # IoU from which words know a class: pictures of one fold do not replace them; also in teach.c
MIN_IOU_IF_NAMED = 0.005  # likewise, if words give most of its cells to classes of the head; also in teach.c
SURE_GAIN = 0.06  # of the IoU of a class, divided by the folds that show it, without which it keeps its words
STANDARD_ERRORS = 1.5  # likewise; also in teach.c
AT_STAKE = 2.0  # times the IoU by words: enough of a gain, whatever its error; also in teach.c
KNOWN = 0.6  # IoU by words of a class that everyday photographs may show; also in teach.c
EVERYDAY_SHARE = 8  # reviewed pictures for each that everyday ones count as, at least as one
EVERYDAY_LOSS = 0.1  # of the mean IoU on pictures that were left out, above which a head does without everyday ones
PASSES = 2  # in which classes are given back to their words: the others' IoU changes by that
LIKENESS = 0.05  # squared distance of the mean cells of like pictures, in that of a cell from its picture's mean
# Of a class's IoU in like pictures that were left out, without which it keeps its words; also in lessons.c.
NEARBY_GAIN = 0.1
FINE_GAIN = 0.01  # of the mean IoU on pictures that were left out, without which a head does not use detail
UNFOUND = 0.005  # IoU by words below which there is nothing to keep in other pictures; also in lessons.c
MAX_NEARBY_WORK = 2e10  # products; where a solve takes more, like pictures teach nothing of their own
MAX_FINE_WORK = 2e10  # products, as of `work_of`; where the detail takes more, a head is solved without
NUMBERS = SCALE, MAX_TEXT, STRENGTH, WORDS_PICTURES, FOLDS, SURE_GAIN, LIKENESS  # in the order of lessons.c

# Cells of everyday photographs, for the bundled weights; `model/everyday.py` writes them.
EVERYDAY = Path(__file__).with_name("everyday.lesson")

Numbers = NDArray[np.float64]


class Cells(NamedTuple):
    """The N cells of all lessons, and what is known of their K classes. Labels weigh in a fold as in all cells."""

    features: NDArray[np.float32]  # [N, F]
    labels: NDArray[np.int32]  # [N] in the head's classes, K: none of them, -1: one that is not in the head
    shares: NDArray[np.float32]  # [N] of their picture
    text: NDArray[np.float32]  # [N, K] logits by words, NaN where the class was not looked for
    pixels: NDArray[np.uint8]  # [N, K + 1] of each label
    fold: NDArray[np.int32]  # [N] which of the report's parts the picture belongs to
    # [3 + folds, K] how many lessons that a part of a head sees show a class: all, all but one fold, half of the folds.
    n_lessons: NDArray[np.int32]
    factors: NDArray[np.float64]  # [K] of the text
    is_known: NDArray[np.bool_]  # [K] whether words know the class
    strength: float  # of the ridge

    @property
    def is_reviewed(self) -> NDArray[np.bool_]:
        """Which cells [N] are not of everyday photographs, in no fold."""
        return np.asarray(self.fold < self.n_folds)

    @property
    def n_folds(self) -> int:
        return len(self.n_lessons) - 3

    def parts(self, way: int) -> NDArray[np.intp]:
        """The part [N] of the head that answers about each reviewed cell."""
        own = np.where(self.is_reviewed, self.fold, 0)
        of_way = np.zeros(len(own), np.intp), 1 + own, 1 + self.n_folds + own % 2
        return np.asarray(of_way[way], np.intp)


def work_of(lessons: Sequence[Lesson], classes: Sequence[str]) -> float:
    """Products that `solve` takes, about 3e9 a second of a core; the lessons need not be valid."""
    plain, fine = _work(lessons, classes, lessons[0].cells.shape[1]), _fine_work(lessons, classes)
    solves = plain, fine, fine or plain  # the last with everyday photographs
    return sum(2 * work if work <= MAX_NEARBY_WORK else work for work in solves)


def _fine_work(lessons: Sequence[Lesson], classes: Sequence[str]) -> float:
    """Products that a head in detail takes; 0: none is solved, as some lessons have no detail, or it takes too long."""
    widths = [0 if lesson.detail is None else lesson.detail.shape[1] for lesson in lessons]
    work = _work(lessons, classes, lessons[0].cells.shape[1] + max(widths))
    return work if min(widths) and work <= MAX_FINE_WORK else 0.0


def _work(lessons: Sequence[Lesson], classes: Sequence[str], f: int) -> float:
    names, by_class = set(classes), defaultdict(list)
    for number, lesson in enumerate(lessons):
        for name in names.intersection(lesson.classes):
            by_class[name].append(number)
    n = sum(len(lesson.labels) for lesson in lessons)
    total = 3.0 * n * len(classes) * f  # the scores of reviewed pictures in each way
    for numbers, count in Counter(map(tuple, by_class.values())).items():  # classes reviewed in the same pictures
        cells = sum(len(lessons[number].labels) for number in numbers)
        folds = len({number % FOLDS for number in numbers})
        total += cells * f * (f / 2 + count) + (3 + folds) * f * f * (f / 6 + count)
    return total


def solve(lessons: Sequence[Lesson], classes: Sequence[str], stop: NDArray[np.int32] | None = None) -> Head:
    """The head of the lessons of one model, and its report.

    A class that no lesson shows keeps the score of its words. Once another thread sets `stop` [1], the work ends soon.

    Raises:
        TeachingError: no class or lesson, too many of them, or all cells have one label.
        ForeignLessonError: the lessons are of different models.
        StoppedError: `stop` was set.
    """
    require_classes(classes)
    require_lessons(lessons)
    learnt, is_fine = _chosen(lessons, classes, stop)
    entries = tuple(map(_entry, classes, *learnt.counts.tolist(), learnt.reported.T.tolist()))
    places = learnt.places if learnt.places.any() else None
    return Head(lessons[0].digest, entries, learnt.directions, learnt.text, len(lessons), is_fine, places)


def _entry(name: str, n: int, wants: int, iou: Sequence[float]) -> TaughtClass:
    """What is known of a class, by its `Learnt.counts` [2] and `reported` [3]."""
    words, *shares = (None if np.isnan(share) else round(100 * share, 1) for share in iou)
    low, high = sorted(share for share in shares if share is not None) or (None, None)
    if low is None or high is None or n >= FEW_PICTURES:
        return TaughtClass(name, n, words, shares[0], wants)
    return TaughtClass(name, n, words, None, wants, (low, high))


def _chosen(lessons: Sequence[Lesson], classes: Sequence[str], stop: NDArray[np.int32] | None) -> tuple[Learnt, bool]:
    """What lessons teach, and whether in detail: where that finds more in pictures that were left out.

    Everyday photographs teach, too, unless a head with them finds clearly less.
    """
    learnt, is_fine, everyday = learn(lessons, classes, stop), False, everyday_lesson(lessons[0].digest)
    n_detail = 0 if lessons[0].detail is None else lessons[0].detail.shape[1]
    if _fine_work(lessons, classes):
        with_detail = [lesson.in_detail() for lesson in lessons]
        in_detail = learn(with_detail, classes, stop, None, n_detail)
        if _mean_iou(in_detail) > _mean_iou(learnt) + FINE_GAIN:
            learnt, is_fine, lessons, everyday = in_detail, True, with_detail, everyday and everyday.in_detail()
    if everyday is None or (learnt.text >= 1).all():
        return learnt, is_fine
    modest = learn(lessons, classes, stop, everyday, n_detail if is_fine else 0)
    return (learnt if _mean_iou(modest) < _mean_iou(learnt) - EVERYDAY_LOSS else modest), is_fine


@cache
def everyday_lesson(digest: str) -> Lesson | None:
    """Cells of everyday photographs, as a lesson of no class for the weights of that digest; None: there are none."""
    lesson = Lesson.from_bytes(EVERYDAY.read_bytes())
    return lesson if lesson.digest == digest else None


def _mean_iou(learnt: Learnt) -> float:
    """The mean IoU in 0..1 as taught, on pictures that were left out; NaN: there are none."""
    shares = learnt.iou[1][~np.isnan(learnt.iou[1])]
    return float(shares.mean()) if len(shares) else np.nan


def learn(
    lessons: Sequence[Lesson],
    classes: Sequence[str],
    stop: NDArray[np.int32] | None = None,
    everyday: Lesson | None = None,
    n_detail: int = 0,
) -> Learnt:
    """What lessons teach, by the kernel or by numpy; errors as `solve`.

    The first `n_detail` numbers of cells do not say what is alike. `everyday` photographs are none of the classes whose
    words do not know them; what they teach is never left out.
    """
    stop = np.zeros(1, np.int32) if stop is None else stop
    if everyday is not None:  # nobody has asked for the words in them
        text = np.zeros((len(everyday.labels), len(classes)), np.float16)
        of_none = np.full(len(everyday.labels), len(classes), np.int16)
        shares = everyday.shares * np.float32(max(1.0, len(lessons) / EVERYDAY_SHARE))
        of_head = replace(everyday, classes=tuple(classes), labels=of_none, shares=shares, text=text, pixels=None)
        lessons = [*lessons, of_head]
    n_everyday = int(everyday is not None)
    has_nearby = _work(lessons[: len(lessons) - n_everyday], classes, lessons[0].cells.shape[1]) <= MAX_NEARBY_WORK
    index = {name: place for place, name in enumerate(classes)}
    places = [np.array([index.get(name, UNKNOWN) for name in lesson.classes], np.int32) for lesson in lessons]
    if library.ready():
        parts = [(each.cells, each.labels, each.shares, each.text, each.votes) for each in lessons]
        numbers = *NUMBERS, n_detail, n_everyday, float(has_nearby)
        learnt = teach.head(parts, places, len(classes), numbers, lessons[0].cells.shape[1] - n_detail, stop)
    else:
        learnt = _learnt(lessons, places, len(classes), n_detail, n_everyday, has_nearby, stop)
    if isinstance(learnt, int):
        only = repr(classes[learnt]) if learnt < len(classes) else "none of the classes"
        raise TeachingError(f"all labelled pixels are {only}; expected pixels of at least two classes, or of nothing")
    return learnt


def _learnt(
    lessons: Sequence[Lesson],
    places: Sequence[NDArray[np.int32]],
    k: int,
    n_detail: int,
    n_everyday: int,
    has_nearby: bool,
    stop: NDArray[np.int32],
) -> Learnt | int:
    """What lessons teach; the only label instead if all cells have that.

    A class that keeps its words, for want of pictures that are unlike, may be found better in left-out pictures that
    are like: these have it as taught, or all if words do not find it.
    """
    means, spreads = _described(lessons[: len(lessons) - n_everyday], n_detail)
    groups = _groups(means, spreads)
    learnt = _learnt_of(_gathered(lessons, places, k, groups % FOLDS), stop)
    if isinstance(learnt, int):
        return learnt
    pairs = [*zip(lessons, places, strict=True)][: len(groups)]
    nearby, near_places = has_nearby & (learnt.text >= 1), np.zeros((k, means.shape[1] + 1))
    for index in np.flatnonzero(nearby):
        shows = [
            (of_lesson[lesson.labels[lesson.labels < len(of_lesson)]] == index).any() for lesson, of_lesson in pairs
        ]
        n_shown = np.bincount(groups[shows])
        if n_shown.max(initial=0) > 1:
            own = groups == n_shown.argmax()
            mean = means[own].mean(0)
            radius = max(((means[own] - mean) ** 2).sum(1).max(), LIKENESS * spreads[own].mean())
            near_places[index] = [*mean, radius]
    nearby = near_places[:, -1] > 0
    if nearby.any():
        near = _learnt_of(_gathered(lessons, places, k, np.arange(len(groups)) % FOLDS), stop)
        assert not isinstance(near, int), "labels were of several classes before"
        nearby &= (near.text < 1) & (near.iou[1] - near.iou[0] >= NEARBY_GAIN)
        learnt.directions[nearby], learnt.text[nearby] = near.directions[nearby], near.text[nearby]
        learnt.reported[:, nearby], learnt.counts[:, nearby] = near.iou[:, nearby], near.counts[:, nearby]
        nearby &= near.iou[0] >= UNFOUND
    return learnt._replace(places=np.where(nearby[:, None], near_places, 0).astype(np.float32))


def _gathered(lessons: Sequence[Lesson], places: Sequence[NDArray[np.int32]], k: int, folds: NDArray[np.intp]) -> Cells:
    """The cells of lessons; those after the last of the `folds` are of everyday photographs."""
    labels, text, pixels = [], [], []
    for lesson, of_classes in zip(lessons, places, strict=True):
        in_head, of_labels = of_classes >= 0, np.append(of_classes, np.int32(k))
        own = np.full((len(lesson.labels), k), np.nan, np.float32)
        own[:, of_classes[in_head]] = lesson.text[:, in_head]
        votes = np.zeros((len(lesson.labels), k + 1), np.uint8)
        votes[:, of_labels[of_labels >= 0]] = lesson.votes[:, of_labels >= 0]
        labels.append(of_labels[lesson.labels])
        text.append(own)
        pixels.append(votes)
    n_everyday = len(lessons) - len(folds)
    shows = np.array([np.isin(np.arange(k), own) for own in labels[: len(folds)]])
    n_folds = int(folds.max()) + 1
    n_pictures = np.array([shows[_seen_by(part, n_folds)[folds]].sum(0) for part in range(n_folds + 3)], np.int32)
    strength, folds = STRENGTH / len(folds), np.append(folds, [folds.max() + 1] * n_everyday)
    factors = 1 / (1 + n_pictures[0] / WORDS_PICTURES)
    cells = Cells(
        np.concatenate([lesson.cells for lesson in lessons]).astype(np.float32, order="C"),
        np.concatenate(labels),
        np.concatenate([lesson.shares for lesson in lessons]),
        np.concatenate(text),
        np.concatenate(pixels),
        np.repeat(folds, [len(lesson.labels) for lesson in lessons]).astype(np.int32),
        n_pictures,
        factors,
        np.ones(k, bool),
        strength,
    )
    iou = _iou(_counts(cells, cells.text))
    cells.text[np.ix_(~cells.is_reviewed, iou >= KNOWN)] = np.nan
    is_known = _is_known(cells, iou)
    # Few pictures cannot undo what words say that do not know a class.
    return cells._replace(is_known=is_known, factors=np.where(is_known, factors, np.minimum(factors, 1 - factors)))


def _is_known(cells: Cells, iou: Numbers) -> NDArray[np.bool_]:
    """Whether words, by their `iou`, know a class [K]: they find it (a little is enough where they give most of it to
    classes of the head), or give its cells more than the background has, if less than another class."""
    own = (cells.labels[:, None] == np.arange(len(iou))) * cells.shares[:, None].astype(np.float64)
    named = own[(cells.text > 0).any(1)].sum(0)
    min_iou = np.where(2 * named > own.sum(0), MIN_IOU_IF_NAMED, MIN_IOU_BY_WORDS)
    return np.asarray((iou >= min_iou) | (np.nansum(own * cells.text, 0) > 0))


def _seen_by(part: int, n_folds: int) -> NDArray[np.bool_]:
    """Which folds [1 + n_folds] a part of a head sees, last that of everyday photographs."""
    folds = np.arange(1 + n_folds)
    left_out = folds == part - 1 if part <= n_folds else folds % 2 == part - n_folds - 1
    return np.asarray(~left_out | (folds == n_folds))


def _described(lessons: Sequence[Lesson], n_detail: int) -> tuple[Numbers, Numbers]:
    """The mean cell [N, S] of each lesson, without detail, and the squared spread [N] around it."""
    means, spreads = [], []
    for lesson in lessons:
        cells = lesson.cells[:, n_detail:].astype(np.float64)
        shares = lesson.shares / lesson.shares.sum(dtype=np.float64)
        means.append(shares @ cells)
        spreads.append(shares @ cells**2 @ np.ones(cells.shape[1]) - means[-1] @ means[-1])
    return np.array(means), np.array(spreads)


def _groups(means: Numbers, spreads: Numbers) -> NDArray[np.intp]:
    """The group of each lesson; like pictures, as neighbours of a strip, are in one."""
    group = np.arange(len(means))
    for one, mean in enumerate(means):
        for other in range(one):
            if ((mean - means[other]) ** 2).sum() <= LIKENESS * (spreads[one] + spreads[other]) / 2:
                group[group == max(group[one], group[other])] = min(group[one], group[other])
    return np.asarray(np.unique(group, return_inverse=True)[1], np.intp)


def _learnt_of(cells: Cells, stop: NDArray[np.int32]) -> Learnt | int:
    """What cells teach; the only label instead if all have that.

    Each learned class has a share of its words' score left, by the number of its pictures; of several ways to share
    the best is chosen, by heads that did not see the cells.
    """
    named = np.unique(cells.labels[(cells.labels >= 0) & cells.is_reviewed])
    if len(named) < 2:
        return int(named[0]) if len(named) else cells.text.shape[1]
    directions, every = _directions(cells, stop), np.ones(cells.text.shape[1])
    by_half = {half: _iou(_mixed_counts(cells, directions, HELD_OUT, half, every)) for half in HALVES + DOUBTFUL}
    half = _best_half(by_half, cells.n_lessons[0])
    part, iou = _better(cells, directions, half)
    share = part * _trust(cells, half)[0]
    text = (share * cells.factors + 1 - share).astype(np.float32)
    folds = _shown_folds(cells)
    gain = by_half[half] - _iou(_mixed_counts(cells, directions, HALF, half, every))
    wants = _wants(cells.n_lessons, folds, gain)
    counts = np.array([cells.n_lessons[0], wants], np.int32)
    learned = (share[:, None] * directions[0]).astype(np.float32)
    iou = np.where(folds > 1, iou, np.nan)
    return Learnt(learned, text, iou, counts, np.zeros((len(text), 0), np.float32), iou.copy())


def _wants(n_lessons: NDArray[np.int32], folds: NDArray[np.intp], gain: Numbers) -> Numbers:
    """How many more pictures each class [K] wants, until ENOUGH_PICTURES further ones bring less than FLAT of its IoU.

    This grows with the logarithm of their number; `gain` is that of all folds but one over half of them.
    """
    is_known = (n_lessons[-2:] > 0).all(0) & (folds > 2)
    slope = np.where(is_known, gain / np.log2(2 - 2 / np.maximum(folds, 3)), 0).clip(FLAT / 50)
    until_flat = np.where(slope > FLAT / 50, ENOUGH_PICTURES / (2 ** (FLAT / slope) - 1), 0)
    return np.asarray((np.ceil(np.maximum(until_flat, ENOUGH_PICTURES)) - n_lessons[0]).clip(0, MAX_WANTS), np.float64)


def _mixed(cells: Cells, directions: NDArray[np.float32], way: int, half: float, part: Numbers) -> Numbers:
    """Scores [N, K] of cells, each class with its part of what was learned, in one way."""
    words, parts = np.clip(np.nan_to_num(cells.text, nan=-np.inf), -MAX_TEXT, MAX_TEXT), cells.parts(way)
    learned = cells.factors * words
    for each in np.unique(parts):
        learned[parts == each] += cells.features[parts == each] @ directions[each].T
    trusted = part * _trust(cells, half)[parts]
    return np.where(np.isnan(cells.text), np.nan, trusted * learned + (1 - trusted) * words)


def _mixed_counts(cells: Cells, directions: NDArray[np.float32], way: int, half: float, part: Numbers) -> Numbers:
    """The `_counts` so; cells that words give to a class without a part stay with it."""
    logits = np.append(np.nan_to_num(cells.text, nan=-np.inf), np.zeros((len(cells.text), 1)), 1)
    stays = np.append(part == 0, False)[logits.argmax(1)]
    return _counts(cells, np.where(stays[:, None], cells.text, _mixed(cells, directions, way, half, part)))


def _shown_folds(cells: Cells) -> NDArray[np.intp]:
    return np.asarray((cells.n_lessons[1:-2] < cells.n_lessons[0]).sum(0), np.intp)


def _better(cells: Cells, directions: NDArray[np.float32], half: float) -> tuple[Numbers, Numbers]:
    """What part [K] each class has of what it learned, and the IoU [3, K] by words and so, HELD_OUT and TRAINING.

    None where words are as good on pictures that were left out, or know the class and there are no such pictures.
    """
    by_words, folds = _counts(cells, cells.text), _shown_folds(cells)
    part = ((folds > 1) | (folds > 0) & ~cells.is_known).astype(float)
    for _ in range(PASSES):
        taught = _mixed_counts(cells, directions, HELD_OUT, half, part)
        part[(folds > 1) & ~_is_better(by_words, taught, folds)] = 0
    ways = [_mixed_counts(cells, directions, way, half, part) for way in (HELD_OUT, TRAINING)]
    return part, np.array([_iou(counts) for counts in (by_words, *ways)])


def _is_better(by_words: Numbers, taught: Numbers, folds: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each class [K] is better by `_counts` than by chance: by the standard error of folds (jackknife)."""
    gain, n = _iou(taught) - _iou(by_words), np.maximum(folds, 2)
    parts = [[np.delete(counts, fold, 0) for counts in (taught, by_words)] for fold in range(len(taught))]
    error = np.sqrt((n - 1) / n * sum((_iou(part) - _iou(of_words) - gain) ** 2 for part, of_words in parts))
    chance = STANDARD_ERRORS * (1 + 2 / (n - 1)) * error
    return np.asarray((gain >= SURE_GAIN / n) & (gain >= np.minimum(chance, AT_STAKE * _iou(by_words))))


def _best_half(by_half: Mapping[float, Numbers], n_pictures: NDArray[np.int32]) -> float:
    """The choice with the best IoU [K] on others; doubts need a gain of classes that enough pictures show."""
    means = {half: iou[n_pictures > 0].mean() for half, iou in by_half.items()}
    best = max(HALVES, key=means.__getitem__)
    enough = n_pictures >= ENOUGH
    if not enough.any():
        return best
    of_enough = {half: iou[enough].mean() for half, iou in by_half.items()}
    doubts = [half for half in DOUBTFUL if all(each[half] > each[best] + GAIN for each in (means, of_enough))]
    return max(doubts, key=means.__getitem__, default=best)


def _trust(cells: Cells, half: float) -> Numbers:
    """The share in 0..1 that each part of a head has of what it learned [3 + folds, K]; words have the rest."""
    n, halves = cells.n_lessons, np.where(cells.is_known | np.isinf(half), half, 0.0)
    return np.asarray(np.where(n > 0, n / np.maximum(n + halves, 1), 0.0), np.float64)


def _directions(cells: Cells, stop: NDArray[np.int32]) -> NDArray[np.float32]:
    """Directions [3 + folds, K, F] of each part of a head."""
    n_parts, k = cells.n_lessons.shape
    directions = np.zeros((n_parts, k, cells.features.shape[1]), np.float32)
    looked_for, has_pictures = ~np.isnan(cells.text), cells.n_lessons[0] > 0
    for pattern in np.unique(looked_for[:, has_pictures], axis=1).T:  # classes looked for in the same pictures
        same = np.flatnonzero((looked_for == pattern[:, None]).all(0) & has_pictures)
        rows = np.flatnonzero(pattern & (cells.labels >= 0))
        targets = (cells.labels[rows, None] == np.append(same, k)).astype(np.float32)
        targets[:, :-1] -= cells.factors[same] / SCALE * np.clip(cells.text[np.ix_(rows, same)], -MAX_TEXT, MAX_TEXT)
        shares, labels, features = cells.shares[rows].astype(np.float64), cells.labels[rows], cells.features[rows]
        weights = shares / np.sqrt(np.bincount(labels, shares)[labels])
        weighted = features * (weights / weights.sum()).astype(np.float32)[:, None]
        by_fold = [cells.fold[rows] == fold for fold in range(cells.n_folds + 1)]
        matrices, products = (
            np.array([weighted[own].T @ part[own] for own in by_fold], np.float64) for part in (features, targets)
        )
        is_nobody_known = bool((cells.labels[rows] == k).any())
        for index in range(n_parts):
            if stop[0]:
                raise StoppedError("solving a head was stopped")
            seen_by = _seen_by(index, cells.n_folds)
            solution = _ridge(matrices[seen_by].sum(0), products[seen_by].sum(0), cells.strength)
            nobody = solution[:, -1].copy()
            if not is_nobody_known:
                nobody[-1] = 0.5  # a class wins where it is more probable than not
            directions[index, same] = SCALE * (solution[:, :-1] - nobody[:, None]).T
    directions[:, ~cells.is_known, -1] -= MARGIN * (1 - FEW_PICTURES / max(FEW_PICTURES, cells.n_lessons[0].max()))
    return directions


def _ridge(matrix: Numbers, products: Numbers, strength: float) -> Numbers:
    """The weights [F, T] that predict targets from features that end with 1, by their sums [F, F] and [F, T]."""
    means = matrix[-1] / max(float(matrix[-1, -1]), TINY)
    # One variance for all features: one that hardly differs in few pictures would be trusted most, by their own.
    penalty = np.full(len(matrix), strength * (np.diag(matrix) - matrix[-1] * means)[:-1].clip(0).mean())
    penalty[-1] = 0  # the constant is not
    return np.asarray(np.linalg.solve(matrix + np.diag(penalty + TINY), products), np.float64)


def _counts(cells: Cells, scores: NDArray[np.floating[Any]]) -> Numbers:
    """For each fold and class [folds, 2, K] its pixels that are found, and all that are its own or are given to it.

    `scores` [N, K] count over that of none of the classes; NaN: not looked for.
    """
    labelled, k = (cells.labels >= 0) & cells.is_reviewed, scores.shape[1]
    best = np.concatenate([np.nan_to_num(scores[labelled], nan=-np.inf), np.zeros((labelled.sum(), 1))], 1)
    won = best.argmax(1)[:, None] == np.arange(k + 1)
    pixels = cells.shares[labelled, None] * cells.pixels[labelled].astype(np.float64)
    hits = pixels * won
    both = np.stack([hits, pixels + won * pixels.sum(1, keepdims=True) - hits], 1)[..., :k]
    return np.array([both[cells.fold[labelled] == fold].sum(0) for fold in range(cells.n_folds)])


def _iou(counts: Numbers) -> Numbers:
    hits, both = counts.sum(0)
    return np.asarray(hits / np.maximum(both, 1e-12), np.float64)
