"""Pixel tasks of any method: classes compete for every pixel; things are connected regions of a class's pixels.

With a long class list most regions are specks of absent classes. So a card may have a `ThingBelief`: a logistic model
of how likely a region is a whole thing, from its mean probability, area and the presence of its class in the image.

The rules of a card, for things and for scores, are logistic models in tensor operations, of which a browser runs
graphs: N regions or segments have mean probabilities [N], shares of the image [N] and logits of their classes'
presence [N].
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import ScoreRule
from lexiseg_model.kernel import library
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import axes, winners
from lexiseg_model.tasks.options import Query
from lexiseg_model.types import LabelMap, Rle, Segment, Segmentation, Task
from lexiseg_model.vocabulary.scoring import Scored, score

MIN_PROBABILITY = 1e-6  # keeps log-odds finite
MAX_LOGIT = 50.0  # of a score


class Pieces(NamedTuple):
    """Disjoint parts of a picture that may become segments."""

    labels: LabelMap  # [H, W] the piece of each pixel, `len(owner)` or more for the background
    owner: NDArray[np.int64]  # [N] each piece's class
    votes: NDArray[np.float64]  # [N] or longer: sum of the probabilities of its pixels, incomplete of the background
    probability: NDArray[np.float32] | None  # [H, W] of each pixel's winner, when asked for
    rles: list[Rle] | None = None  # of the pieces, where they are known


class Calibration(NamedTuple):
    """The card's rule for scores, and the logit of each class, [K], to be anywhere in the image."""

    rule: ScoreRule
    presence: NDArray[np.float64]

    def scores(
        self, owner: NDArray[np.int64], probability: NDArray[np.float64], area: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores [N], 0..1, of segments of classes `owner` [N], by mean probabilities and shares."""
        numbers = (self.presence[owner], probability, np.float64(len(self.presence)), area)
        tensors = (torch.tensor(each, dtype=torch.float64) for each in numbers)
        return np.asarray(segment_scores(score_weights(self.rule), *tensors).numpy(), np.float64)


def semantic(query: Query) -> Segmentation:
    """One segment for each class that owns pixels, in the vocabulary's order; disjoint, and without a background they
    cover the image. Errors as `tasks.answer`."""
    scored = score_query(query)
    n_classes, keep_probability = len(query.vocabulary.classes), query.options.keep_probability
    pieces = outcome(scored.logits, query.features.size, n_classes, keep_probability)
    return segmentation("semantic", pieces, query, calibrate(query, scored))


def outcome(logits: Tensor, size: tuple[int, int], n_classes: int, keep_probability: bool = False) -> Pieces:
    """The pixels of `size` (H, W) that each class wins by logits [K, h, w]; a row more is that of the background."""
    if library.ready() and not logits.is_cuda:
        numbers = logits.float().contiguous().numpy(force=True)
        places = axes((logits.shape[1], logits.shape[2]), size)
        (labels, votes, probability), rles = library.outcome(numbers, places, n_classes, keep_probability)
    else:
        labels, votes, probability = winners(logits, size, keep_probability)
        rles = encode_label_map(labels, n_classes)
    return Pieces(labels, np.arange(n_classes), votes, probability, rles)


def segmentation(task: Task, pieces: Pieces, query: Query, calibration: Calibration | None = None) -> Segmentation:
    """Make a segment of every piece that has pixels and reaches its threshold, in the order of the pieces.

    Without a calibration, and for a class without words, its score is the mean of its pixels' probability. The card's
    threshold holds only where pixels may be background, and not in a video: dropping in single frames would flicker.
    With `doubtful`, the pieces of a class of which none reaches its threshold become segments, too. `is_thing` is null
    in the task semantic.
    """
    options, classes = query.options, query.vocabulary.classes
    drops = query.vocabulary.background is not None and options.steady is None
    scores: dict[int, float] = {}  # of pieces with pixels
    low: set[int] = set()  # pieces under their threshold
    n = len(pieces.owner)
    rles = encode_label_map(pieces.labels, n) if pieces.rles is None else pieces.rles
    areas = np.array([rle.area for rle in rles[:n]], np.float64)
    means = pieces.votes[:n] / areas.clip(1)
    calibrated = means if calibration is None else calibration.scores(pieces.owner, means, areas / pieces.labels.size)
    owner: list[int] = pieces.owner.tolist()
    for piece in np.flatnonzero(areas).tolist():
        entry = classes[owner[piece]]
        score, default = float(means[piece]), 0.0
        if calibration is not None and entry.texts:  # presence is learned for words, not for examples
            score = float(calibrated[piece])
            default = calibration.rule.threshold if drops else 0.0
        scores[piece] = score
        if score < options.min_score(entry.threshold, default):
            low.add(piece)
    confident_classes = {owner[piece] for piece in scores if piece not in low}
    pieces_of = [
        piece for piece in scores if piece not in low or (options.doubtful and owner[piece] not in confident_classes)
    ]
    segments = []
    for number, piece in enumerate(pieces_of, 1):
        entry, rle = classes[owner[piece]], rles[piece]
        is_thing = None if task == "semantic" else entry.thing is not False
        is_low, index = piece in low, owner[piece]
        segments.append(Segment(number, entry.name, index, scores[piece], rle, is_thing=is_thing, doubtful=is_low))
    size = (pieces.labels.shape[0], pieces.labels.shape[1])
    # Tracking in a video compares the maps of two frames.
    label_map: LabelMap = np.zeros((0, 0), np.uint8)
    if options.keep_label_map or options.steady is not None:
        ids: LabelMap = np.zeros(np.iinfo(pieces.labels.dtype).max + 1, np.uint8 if len(pieces_of) < 256 else np.uint16)
        ids[pieces_of] = np.arange(1, len(pieces_of) + 1)
        is_small = pieces.labels.dtype == ids.dtype == np.uint8
        # A fifth of the time of `ids[labels]`.
        label_map = np.asarray(cv2.LUT(pieces.labels, ids), np.uint8) if is_small else ids[pieces.labels]
    return Segmentation(size, task, tuple(segments), label_map, pieces.probability)


def calibrate(query: Query, scored: Scored) -> Calibration | None:
    """The card's rule for scores with the whole-image logits of the classes; None if the card has no rule."""
    segmenter, rule = query.segmenter, query.segmenter.card.score
    if rule is None:
        return None
    whole = segmenter.whole_image(query.features, query.bank) if scored.whole_image is None else scored.whole_image
    presence = whole.cpu().double().numpy()
    return Calibration(rule, presence[: len(query.vocabulary.classes)])


def score_query(query: Query) -> Scored:
    """Logits [K, h, w] of the classes that compete, and with a background its own."""
    query.check_vocabulary()
    return score(query.segmenter, query.features, query.vocabulary, query.bank, query.refine, query.options.steady)


def score_weights(rule: ScoreRule) -> Tensor:
    """The weights [5] float64 of `segment_scores`."""
    return torch.tensor([rule.presence, rule.probability, rule.classes, rule.area, rule.bias], dtype=torch.float64)


def segment_scores(weights: Tensor, presence: Tensor, probability: Tensor, n_classes: Tensor, area: Tensor) -> Tensor:
    """Scores [N] in 0..1 of segments in a request of `n_classes` []; float64."""
    odds = probability.clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY).logit()
    inputs = (presence, odds, n_classes.log(), area.log(), torch.ones_like(n_classes))
    logits = torch.stack([weight * each.expand_as(odds) for weight, each in zip(weights, inputs, strict=True)]).sum(0)
    return logits.clamp(-MAX_LOGIT, MAX_LOGIT).sigmoid()
