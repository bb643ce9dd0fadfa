"""A model on a benchmark by a protocol: labels of each image, and counts that add up to mIoU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import guide_of
from lexiseg_model.clip import windowed
from lexiseg_model.clip.patch_text import MIN_PROBABILITY
from lexiseg_model.errors import DatasetError
from lexiseg_model.features import Features
from lexiseg_model.internal import region_refinement_of
from lexiseg_model.masks import pamr
from lexiseg_model.masks.upsample import strips, upsampled
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.types import Refinement
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import refine_logits
from lexiseg_train.data.benchmark import AnnotatedSet, Labels
from lexiseg_train.evaluation.benchmarks.protocol import DatasetRule, questions
from lexiseg_train.evaluation.counts import Counts, count
from lexiseg_train.evaluation.resumable import EvaluationRun, Record

# From logits [T, r, W] and their rows of the image to the logit that the best query must reach: [r, W], or [].
BackgroundLogit = Callable[[Tensor, slice], Tensor]


def benchmark_run(
    segmenter: Segmenter, data: AnnotatedSet, rule: DatasetRule, refine: Refinement, progress: Path
) -> EvaluationRun[Labels]:
    """An evaluation with records that `total_counts` adds up, of a model loaded with the protocol's sight."""
    key = {"data": data.benchmark.model_dump(mode="json"), "rule": rule.model_dump(mode="json"), "refine": refine}
    judge = _BenchmarkJudge(segmenter, data, rule, refine)
    return EvaluationRun(segmenter, data.images, judge, progress, f"{data.benchmark.name}-{data.split}", key)


def total_counts(records: Sequence[Record], n_classes: int) -> Counts:
    """Sum of the counts of all images."""
    total = np.zeros((3, n_classes), np.int64)
    for record in records:
        for label, *counts in record["counts"]:
            total[:, label] += counts
    return total


class _BenchmarkJudge:
    """Record: `counts`, a list of [label, hits, truth, predicted] for labels that occur."""

    def __init__(self, segmenter: Segmenter, data: AnnotatedSet, rule: DatasetRule, refine: Refinement) -> None:
        entries, self._owner = questions(data.benchmark, rule)
        rows = KnownRows(segmenter)(words_of(segmenter).texts(entries))
        self._bank = words_of(segmenter).text_bank(entries, rows)
        self._segmenter = segmenter
        self._rule = rule
        self._refine = refine
        self._scale = rule.scale or segmenter.probability_scale
        self._has_background = data.benchmark.background and rule.threshold is not None
        self._n_classes = len(data.benchmark.classes)
        self._reduction = Reduction(self._owner, smallest_share=rule.smallest_share)

    def __call__(self, rgb: NDArray[np.uint8], truth: Labels) -> Record:
        labels = self._label_photograph(rgb)
        if truth.shape != labels.shape:
            raise DatasetError(f"the annotation is {truth.shape}, its photograph {labels.shape} (height, width)")
        counts = count(truth, labels, self._n_classes)
        return {"counts": [[label, *counts[:, label].tolist()] for label in np.flatnonzero(counts.any(0)).tolist()]}

    def _label_photograph(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
        segmenter = self._segmenter
        with torch.inference_mode():
            features = segmenter.encode(rgb)
            scores = segmenter.refined_scores(features, self._bank) if self._refine == "pamr" else None
            if scores is None:
                scores = words_of(segmenter).class_scores(features, self._bank)
                if self._refine == "pamr":
                    return self._reduce_refined(scores, features)
            background = self._background_of(features, scores) if self._has_background else None
            if self._refine == "regions":
                return self._by_regions(features, scores)
            reduction = replace(self._reduction, scale=self._scale, background=background)
            return reduce_to_labels(scores, features.size, reduction)

    def _by_regions(self, features: Features, scores: Tensor) -> NDArray[np.uint16]:
        """The method's own refinement of classes that compete at the picture's size."""
        logits = windowed.resize(scores, features.size) * self._scale
        total = logits.logsumexp(0)
        rows_of = [torch.from_numpy(np.flatnonzero(self._owner == label)) for label in range(self._n_classes)]
        never = total + math.log(MIN_PROBABILITY)
        classes = torch.stack([logits[rows].amax(0) if len(rows) else never for rows in rows_of])
        best, winner = classes.max(0)
        if self._has_background and isinstance(self._rule.threshold, float):
            winner = winner.masked_fill((best - total).exp() < self._rule.threshold, 0)
        refined = region_refinement_of(self._segmenter).by_regions(features, classes, total, winner)
        labels: NDArray[np.uint16] = windowed.resize(refined, features.size).argmax(0).cpu().numpy().astype(np.uint16)
        return labels

    def _reduce_refined(self, scores: Tensor, features: Features) -> NDArray[np.uint16]:
        """PAMR for methods without a refinement of their own: the background competes before it."""
        logits = scores * self._scale
        by_colours = partial(pamr.refine, image=guide_of(self._segmenter, features))
        if not self._has_background:
            logits = refine_logits(logits, by_colours)
            return reduce_to_labels(logits, features.size, self._reduction)
        background = self._background(logits, features).expand(logits.shape[1:])
        logits = refine_logits(torch.cat([logits, background[None]]), by_colours)
        reduction = replace(self._reduction, background=lambda competing, _: competing[-1])
        return reduce_to_labels(logits, features.size, reduction)

    def _background_of(self, features: Features, scores: Tensor) -> BackgroundLogit:
        """The method's background rule: one number for the image, or computed strip by strip.

        One number may depend on all scores [T, h, w] of the image (GroupViT's rule). A rule for each pixel may also
        look at the features: what they add is computed once at the image's size, as a strip does not know its position.
        """
        whole = self._background(scores * self._scale, features)
        if not whole.ndim:
            return lambda logits, rows: whole
        zeros = torch.zeros(1, *features.size, device=scores.device)
        added = (self._background(zeros, features) - self._background(zeros)).expand(features.size)
        return lambda logits, rows: self._background(logits) + added[rows]

    def _background(self, logits: Tensor, features: Features | None = None) -> Tensor:
        threshold = self._rule.threshold
        assert threshold is not None
        return words_of(self._segmenter).background_score(
            logits, None if threshold == "own" else threshold, self._refine, features
        )


@dataclass(frozen=True)
class Reduction:
    """Rules that turn scores of queries into labels."""

    owner: NDArray[np.int64]  # [T] label of each query, ascending: a tie goes to the lower label
    scale: float = 1.0  # factor of the scores before the softmax
    background: BackgroundLogit | None = None  # a pixel below it is label 0; None: every pixel gets a class
    smallest_share: float | None = None  # of the foreground; labels but 0 with at most that lose their pixels


def reduce_to_labels(scores: Tensor, size: tuple[int, int], reduction: Reduction) -> NDArray[np.uint16]:
    """Labels [H, W] of scores [T', h, w] of T' >= T queries; rows after the owners' are only passed to `background`."""
    n_texts = len(reduction.owner)
    dropped = (
        None if reduction.smallest_share is None else _too_small(scores, size, reduction, reduction.smallest_share)
    )
    labels = np.empty(size, np.uint16)
    owner = torch.from_numpy(reduction.owner).to(scores.device)
    for strip in strips(scores, size):
        logits = reduction.scale * upsampled(scores, strip)
        competing = logits[:n_texts]
        if dropped is not None:
            competing = competing.masked_fill(dropped[:, None, None], -math.inf)
        best, winner = competing.max(0)
        won = owner[winner]
        if reduction.background is not None:
            won = torch.where(best < reduction.background(logits, strip.rows), 0, won)
        labels[strip.rows] = won.cpu().numpy()
    return labels


def _too_small(scores: Tensor, size: tuple[int, int], reduction: Reduction, share: float) -> Tensor:
    """[T] queries with a label that wins too little of the foreground, before the background rule."""
    area = np.zeros(int(reduction.owner.max()) + 1)
    for strip in strips(scores, size):
        winner = upsampled(scores, strip)[: len(reduction.owner)].argmax(0).cpu().numpy()
        area += np.bincount(reduction.owner[winner].reshape(-1), minlength=len(area))
    small = area <= share * area[1:].sum()
    small[0] = False
    return torch.from_numpy(small[reduction.owner]).to(scores.device)
