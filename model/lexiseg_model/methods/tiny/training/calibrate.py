"""The background rule's two numbers, chosen on photographs: how much a lone class must clear, and how much a word.

Asked for one class that is there, a model should find it; asked for one that is not, it should paint nothing. Both
are measured over a grid of offsets and margins, and the best IoU within the allowed paint wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, IGNORE, IndexedDataset, Sample
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, BackgroundRule, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

OFFSETS = (0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0)  # logits
MARGINS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
ALLOWED_PAINT = 0.02  # of a photograph, on average, by a class that is not there
PHOTOGRAPHS = 32  # of each data set
VISIBLE = 0.03  # of a photograph: smaller classes are not asked for
ABSENT = 4  # classes asked for that are not there, of the data set's own and as many of the foreign ones


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and what it gives: mean IoU of present classes, mean painted share of absent ones."""

    rule: BackgroundRule
    present_iou: float
    absent_paint: float


@dataclass(frozen=True)
class _Question:
    """One class asked alone: its scores [h, w], those of the best background word, and the truth."""

    own: NDArray[np.float32]
    words: NDArray[np.float32]
    truth: NDArray[np.bool_] | None  # None for a class that is not there
    counted: NDArray[np.bool_]


def calibrate(segmenter: Segmenter, datasets: list[IndexedDataset], foreign: list[str], seed: int) -> Calibration:
    """Chooses offset and margin of the card's background rule.

    Args:
        segmenter: the model; its card's own offset and margin are ignored.
        datasets: photographs with masks.
        foreign: classes that none of the photographs shows, unless its data set names them.
        seed: of the choice of absent classes.
    """
    random = np.random.default_rng(seed)
    nobody = float(segmenter.nobody_score(torch.zeros(1, 1, 1), None, "none"))
    present = np.zeros((len(OFFSETS), len(MARGINS)))
    absent = np.zeros_like(present)
    n_present = n_absent = 0
    rows = KnownRows(segmenter)
    for data in datasets:
        for question in _questions(segmenter, rows, data, foreign, random):
            if question.truth is None:
                n_absent += 1
                absent += _over_grid(question, nobody, None)
            else:
                n_present += 1
                present += _over_grid(question, nobody, question.truth)
    present /= max(1, n_present)
    absent /= max(1, n_absent)
    allowed = np.where(absent <= max(ALLOWED_PAINT, absent.min()), present, -1)
    best = np.unravel_index(int(allowed.argmax()), allowed.shape)
    rule = segmenter.card.background.model_copy(update={"offset": OFFSETS[best[0]], "margin": MARGINS[best[1]]})
    return Calibration(rule, float(present[best]), float(absent[best]))


def _over_grid(question: _Question, nobody: float, truth: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """IoU with the truth, or the painted share, for every offset and margin."""
    values = np.empty((len(OFFSETS), len(MARGINS)))
    for row, offset in enumerate(OFFSETS):
        clears = question.own > nobody + offset
        for column, margin in enumerate(MARGINS):
            painted = clears & (question.own > question.words - margin)
            if truth is None:
                values[row, column] = painted.mean()
            else:
                union = ((painted | truth) & question.counted).sum()
                values[row, column] = (painted & truth & question.counted).sum() / max(1, union)
    return values


def _questions(
    segmenter: Segmenter, rows: KnownRows, data: IndexedDataset, foreign: list[str], random: np.random.Generator
) -> Iterator[_Question]:
    for sample in data.some(PHOTOGRAPHS):
        plan = segmenter.plan(sample.read_image())
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        yield from _ask(segmenter, rows, features, sample, data, foreign, random)


def _ask(
    segmenter: Segmenter,
    rows: KnownRows,
    features: Features,
    sample: Sample,
    data: IndexedDataset,
    foreign: list[str],
    random: np.random.Generator,
) -> Iterator[_Question]:
    mask = sample.read_mask()
    seen = np.bincount(mask.reshape(-1), minlength=256)[: len(data.classes)] / mask.size
    named = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
    missing = [data.classes[value] for value in named if not seen[value]]
    strangers = [name for name in foreign if name not in data.classes]
    asked: list[tuple[str, int | None]] = [(data.classes[value], value) for value in named if seen[value] > VISIBLE]
    asked += [(str(name), None) for name in random.permutation(missing)[:ABSENT]]
    asked += [(str(name), None) for name in random.permutation(strangers)[:ABSENT]]
    for name, value in asked:
        own, words = _lone_scores(segmenter, rows, features, name)
        small = cv2.resize(mask, own.shape[::-1], interpolation=cv2.INTER_NEAREST)
        yield _Question(own, words, None if value is None else small == value, small != IGNORE)


def _lone_scores(
    segmenter: Segmenter, rows: KnownRows, features: Features, name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[h, w] of the class and of the best background word that does not step aside for it."""
    # A threshold of 0 takes the learned score out of the way, so that the last row is the words alone.
    vocabulary = Vocabulary((ClassEntry(name),), Background(threshold=0.0))
    scores = score_vocabulary(segmenter, features, vocabulary, rows, tidy=False)
    rule = segmenter.card.background
    own, words = scores.cpu().numpy()
    return own, words + np.float32(rule.relief(1) * rule.margin)
