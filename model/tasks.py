"""The tasks, built once over the Segmenter interface."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import OptionError
from model.masks import pamr
from model.masks.rle import encode_label_map
from model.masks.upsample import Winners, winners
from model.segmenter import Features, Segmenter
from model.types import Background, ClassEntry, LabelMap, Refinement, Segment, Segmentation, Vocabulary

LOG_OF_NOTHING = -20.0
RowsOf = Callable[[list[str]], NDArray[np.float16]]  # text rows, from a cache or the tower


def semantic(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    threshold: float = 0.0,
    rows_of: RowsOf | None = None,
    keep_probability: bool = False,
    refine: Refinement | None = None,
) -> Segmentation:
    """Every pixel to one class, or to nobody where the vocabulary has a background.

    Args:
        segmenter: the model that made `features`.
        features: of one image.
        vocabulary: at least one class.
        threshold: segments with a lower score are dropped; a class's own threshold goes before it.
        rows_of: where text rows come from; the segmenter's tower when None.
        keep_probability: also give each pixel's confidence.
        refine: what to do to the scores before they are compared; the card's default when None.

    Returns:
        Disjoint segments in the vocabulary's order, only of classes that own pixels; without a background they
        cover the image.

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
    """
    if not vocabulary.classes:
        raise OptionError("a semantic task needs at least one class, none came")
    if vocabulary.background is None and (threshold or any(entry.threshold for entry in vocabulary.classes)):
        raise OptionError("a threshold drops segments, but background=false promises a class for every pixel")
    scores = score_vocabulary(segmenter, features, vocabulary, rows_of or segmenter.encode_texts)
    if (refine or segmenter.card.refine) == "pamr":
        scores = _refine(scores, segmenter.guide(features))
    return _segments(winners(scores, features.size, keep_probability), vocabulary, threshold)


def score_vocabulary(segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf) -> Tensor:
    """Scores [K, h, w] of the classes; with a background a last row more, for nobody."""
    classes = vocabulary.classes
    rows = rows_of(segmenter.texts(classes))
    scores = segmenter.class_scores(features, segmenter.text_bank(classes, rows))
    if vocabulary.background is None:
        return scores
    nobody = _nobody_scores(segmenter, features, vocabulary.background, rows, rows_of, scores)
    return torch.cat([scores, nobody[None]])


def _refine(scores: Tensor, guide: Tensor) -> Tensor:
    """PAMR on the probabilities of the rows that win anywhere; the others cannot come back and would only cost time.

    [K, h, w] logits and a guide [3, H, W] -> logits [K, H, W].
    """
    probability = scores.softmax(0)
    winning = torch.bincount(scores.argmax(0).flatten(), minlength=len(scores)).nonzero()[:, 0]
    refined = pamr.refine(probability[winning], guide)
    logits = refined.new_full((len(scores), *refined.shape[1:]), LOG_OF_NOTHING)
    logits[winning] = refined.clamp_min(math.exp(LOG_OF_NOTHING)).log()
    return logits


def _nobody_scores(
    segmenter: Segmenter,
    features: Features,
    background: Background,
    class_rows: NDArray[np.float16],
    rows_of: RowsOf,
    scores: Tensor,
) -> Tensor:
    """[h, w]: the best background word, and never less than the score that a class must beat."""
    rule = segmenter.card.background
    relief = rule.relief(len(scores))
    words = tuple(ClassEntry(word) for word in (rule.words if background.words is None else background.words))
    learned = segmenter.nobody_score(background.threshold)
    nobody = torch.full_like(scores[0], learned + relief * rule.offset)
    if not words:
        return nobody
    rows = rows_of(segmenter.texts(words))
    # A word that means the same as a requested class would take that class's pixels: it steps aside.
    likeness = rows.astype(np.float32) @ class_rows.astype(np.float32).T
    apart = likeness.max(1) < rule.same_meaning
    apart = apart.reshape(len(words), -1).all(1)  # of all templates of the word
    if not apart.any():
        return nobody
    kept = tuple(word for word, stays in zip(words, apart, strict=True) if stays)
    bank = segmenter.text_bank(kept, rows[np.repeat(apart, len(rows) // len(words))])
    return torch.maximum(nobody, segmenter.class_scores(features, bank).amax(0) - relief * rule.margin)


def _segments(won: Winners, vocabulary: Vocabulary, threshold: float) -> Segmentation:
    classes, labels = vocabulary.classes, won.labels
    rles = encode_label_map(labels, len(classes))
    segments: list[Segment] = []
    segment_of = np.zeros(len(won.votes), np.uint16)  # nobody's row stays 0
    for index, (entry, rle) in enumerate(zip(classes, rles, strict=True)):
        if not rle.area:
            continue
        score = float(won.votes[index] / rle.area)
        if score < (threshold if entry.threshold is None else entry.threshold):
            continue
        segments.append(Segment(len(segments) + 1, entry.name, index, score, rle))
        segment_of[index] = len(segments)
    # The smallest type that holds every id, before the ids are spread over the pixels.
    ids: LabelMap = segment_of.astype(np.uint8) if len(segments) < 256 else segment_of
    return Segmentation((labels.shape[0], labels.shape[1]), "semantic", tuple(segments), ids[labels], won.probability)
