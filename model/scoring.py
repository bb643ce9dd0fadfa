"""From features and a vocabulary to the scores that compete for every pixel: classes, nobody, refinement."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.masks import pamr
from model.segmenter import Features, Segmenter
from model.types import Background, ClassEntry, Vocabulary

LOG_OF_NOTHING = -20.0
RowsOf = Callable[[list[str]], NDArray[np.float16]]  # text rows, from a cache or the tower


def score_vocabulary(segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf) -> Tensor:
    """Scores [K, h, w] of the classes; with a background a last row more, for nobody."""
    classes = vocabulary.classes
    rows = rows_of(segmenter.texts(classes))
    scores = segmenter.class_scores(features, segmenter.text_bank(classes, rows))
    if vocabulary.background is None:
        return scores
    nobody = _nobody_scores(segmenter, features, vocabulary.background, rows, rows_of, scores)
    return torch.cat([scores, nobody[None]])


def refine_scores(scores: Tensor, guide: Tensor) -> Tensor:
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
