"""Masks that the model itself cut out, as segments: what they show where that is asked, thresholds, the label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks import layers
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks.options import Options
from lexiseg_model.types import LabelMap, Rle, Segment, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.scoring import score_regions


class CutOut(NamedTuple):
    """One mask; `embedding` [1, D] where its class is asked, `logits` [h, w] where confidence is."""

    prompt_index: int | None
    mask_index: int | None
    quality: float
    rle: Rle
    embedding: Tensor | None
    logits: Tensor | None


class _Name(NamedTuple):
    """What a mask shows; a segment must have `least` as its score to stay."""

    label: str | None
    class_index: int | None
    score: float
    least: float


def segments_of(
    task: Task,
    masks: Sequence[CutOut],
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options,
    rows_of: RowsOf,
) -> Segmentation:
    """The answer: masks in their order, with the label of their best class where there are classes.

    Its score is that class's probability among classes and nobody; without classes, or where nobody wins, the label is
    null and the score the quality. So it is for a mask without pixels.

    Where `options` leave the label map out it is [0, 0]; where they leave confidence out, too, it is not found out
    whether segments overlap.
    """
    names = _names(masks, segmenter, features, vocabulary, options, rows_of)
    kept = [(mask, name) for mask, name in zip(masks, names, strict=True) if name.score >= name.least]
    segments = tuple(_segment(number + 1, mask, name) for number, (mask, name) in enumerate(kept))
    if not laid_out(options):
        return Segmentation(features.size, task, segments, np.zeros((0, 0), np.uint8))
    rles = [segment.mask for segment in segments]
    overlapping = layers.overlapping(rles, features.size, options.check)
    shown = _shown([mask for mask, _ in kept]) if overlapping else range(len(kept))
    probability = None
    if options.keep_probability:
        shown_logits = [logits for number in shown if (logits := kept[number][0].logits) is not None]
        probability = layers.confidence(shown_logits, features.size)
    label_map: LabelMap = np.zeros((0, 0), np.uint8)
    if options.keep_label_map:
        label_map = layers.label_map(rles, shown, features.size, options.check)
    return Segmentation(features.size, task, segments, label_map, probability, overlapping)


def laid_out(options: Options) -> bool:
    """Whether masks are laid over each other, which is done with their counts."""
    return options.keep_label_map or options.keep_probability


def _shown(masks: Sequence[CutOut]) -> Sequence[int]:
    """Which of overlapping masks a label map shows: the best of each prompt; without prompts all, small ones on top."""
    prompts = [mask.prompt_index for mask in masks if mask.prompt_index is not None]
    if len(prompts) == len(masks):
        return layers.first_of_each(prompts)
    return sorted(range(len(masks)), key=lambda number: masks[number].rle.area)


def _names(
    masks: Sequence[CutOut],
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options,
    rows_of: RowsOf,
) -> list[_Name]:
    names = [_Name(None, None, mask.quality, options.min_score(None)) for mask in masks]
    embeddings = {number: mask.embedding for number, mask in enumerate(masks) if mask.embedding is not None}
    if not embeddings:
        return names
    logits = score_regions(segmenter, features, vocabulary, rows_of, torch.cat(list(embeddings.values())))
    scores, winners = logits.softmax(0).max(0)
    for number, score, index in zip(embeddings, scores.tolist(), winners.tolist(), strict=True):
        if index < len(vocabulary.classes):  # else nobody
            entry = vocabulary.classes[index]
            names[number] = _Name(entry.name, index, score, options.min_score(entry.threshold))
    return names


def _segment(number: int, mask: CutOut, name: _Name) -> Segment:
    return Segment(
        id=number,
        label=name.label,
        class_index=name.class_index,
        score=name.score,
        mask=mask.rle,
        prompt_index=mask.prompt_index,
        mask_index=mask.mask_index,
        quality=mask.quality,
    )
