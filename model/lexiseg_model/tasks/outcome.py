"""Winning classes of logits, and segments of disjoint pieces of a picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.masks.bilinear import axes
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners
from lexiseg_model.tasks import beliefs
from lexiseg_model.tasks.options import Query
from lexiseg_model.types import LabelMap, Rle, ScoreRule, Segment, Segmentation, Task


class Outcome(NamedTuple):
    """As `Winners`, where votes of the background may be incomplete; and the RLEs of the classes."""

    labels: LabelMap
    votes: NDArray[np.float64]
    probability: NDArray[np.float32] | None
    rles: list[Rle]


def outcome(logits: Tensor, size: tuple[int, int], n_classes: int, keep_probability: bool = False) -> Outcome:
    """Upsample logits, find the winner of each pixel, and encode the masks of the classes.

    Args:
        logits: [K, h, w] of the classes, and of the background if there is one row more.
        size: (H, W) of the answer.
        n_classes: how many classes.
        keep_probability: also give the probability of every pixel's winner.
    """
    if library.ready() and not logits.is_cuda:
        numbers = logits.float().contiguous().numpy(force=True)
        places = axes((logits.shape[1], logits.shape[2]), size)
        won, rles = library.outcome(numbers, places, n_classes, keep_probability)
        return Outcome(*won, rles)
    plain = winners(logits, size, keep_probability)
    return Outcome(*plain, encode_label_map(plain.labels, n_classes))


class Pieces(NamedTuple):
    """Disjoint parts of a picture that may become segments.

    `labels` [H, W]: the piece of each pixel, `len(owner)` or more for the background; `owner` [N] each piece's class;
    `votes` [N] or longer, the sum over a piece's pixels of their probability; `probability` [H, W] of each pixel's
    winner, when asked for; `rles` of the pieces, where they are known.
    """

    labels: LabelMap
    owner: NDArray[np.int64]
    votes: NDArray[np.float64]
    probability: NDArray[np.float32] | None
    rles: list[Rle] | None = None


class Calibration(NamedTuple):
    """The card's rule for scores, and the logit of each class, [K], to be anywhere in the image."""

    rule: ScoreRule
    presence: NDArray[np.float64]

    def scores(
        self, owner: NDArray[np.int64], probability: NDArray[np.float64], area: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the scores [N], 0..1, of segments of classes `owner` [N], by mean probabilities and shares."""
        numbers = (self.presence[owner], probability, np.float64(len(self.presence)), area)
        presence, mean, n_classes, share = (torch.tensor(each, dtype=torch.float64) for each in numbers)
        scores: NDArray[np.float64] = beliefs.scores(
            beliefs.score_weights(self.rule), presence, mean, n_classes, share
        ).numpy()
        return scores


def segmentation(task: Task, pieces: Pieces, query: Query, calibration: Calibration | None = None) -> Segmentation:
    """Make a segment of every piece that has pixels and reaches its threshold, in the order of the pieces.

    Without a calibration, and for a class without words, its score is the mean of its pixels' probability. The card's
    threshold holds only where pixels may be background, and not in a video: dropping in single frames would flicker.
    `is_thing` is null in the task semantic.
    """
    options = query.options
    drops = query.vocabulary.background is not None and options.steady is None
    segments: list[Segment] = []
    pieces_of: list[int] = []  # of each segment
    n = len(pieces.owner)
    rles = encode_label_map(pieces.labels, n) if pieces.rles is None else pieces.rles
    areas = np.array([rle.area for rle in rles[:n]], np.float64)
    means = pieces.votes[:n] / areas.clip(1)
    calibrated = means if calibration is None else calibration.scores(pieces.owner, means, areas / pieces.labels.size)
    for piece, (index, rle) in enumerate(zip(pieces.owner.tolist(), rles, strict=True)):
        entry = query.vocabulary.classes[index]
        if not rle.area:
            continue
        score, default = float(means[piece]), 0.0
        if calibration is not None and entry.texts:  # presence is learned for words, not for examples
            score = float(calibrated[piece])
            default = calibration.rule.threshold if drops else 0.0
        if score < options.min_score(entry.threshold, default):
            continue
        is_thing = None if task == "semantic" else entry.thing is not False
        segments.append(Segment(len(segments) + 1, entry.name, index, score, rle, is_thing))
        pieces_of.append(piece)
    size = (pieces.labels.shape[0], pieces.labels.shape[1])
    # Tracking in a video compares the maps of two frames.
    label_map: LabelMap = np.zeros((0, 0), np.uint8)
    if options.keep_label_map or options.steady is not None:
        label_map = _laid_out(pieces.labels, pieces_of)
    return Segmentation(size, task, tuple(segments), label_map, pieces.probability)


def _laid_out(labels: LabelMap, pieces_of: list[int]) -> LabelMap:
    """Replace pieces by segment ids, in the smallest type that holds every id; the background is 0."""
    ids: LabelMap = np.zeros(np.iinfo(labels.dtype).max + 1, np.uint8 if len(pieces_of) < 256 else np.uint16)
    ids[pieces_of] = np.arange(1, len(pieces_of) + 1)
    return ids[labels]
