"""Measures of a model on one photograph, from one image pass and several vocabularies.

They separate kinds of errors: the whole class list; only classes that are present; true segments that need a name; own
segments with their true names; each class by itself and among others; and absent classes, which should win no pixel.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, Sample
from lexiseg_train.data.scenes import components
from lexiseg_train.evaluation.counts import count

COLUMNS = ("mIoU", "only present", "oracle segments", "oracle names")
OTHERS = (0, 1, 3, 19)  # numbers of further classes in a vocabulary
VISIBLE = 0.01  # share of counted pixels: smaller classes are not tested among others
MAX_ABSENT = 20  # absent classes of a photograph that are tested

Labels = NDArray[np.integer]


class Examined(NamedTuple):
    """Results of one photograph and K classes, including a background."""

    counts: NDArray[np.int64]  # [4, 3, K] pixels correct, in the truth, predicted, for each of COLUMNS
    presence: NDArray[np.float64]  # [K] the model's presence of each class, NaN for the background
    present: NDArray[np.bool_]  # [K] whether it is in the photograph
    recall: NDArray[np.float64]  # [4] sum over `n_visible` classes: share of their pixels won among OTHERS
    n_visible: int
    painted: float  # mean share that an absent class wins by itself; NaN without absent classes


class Examiner:
    """Examines photographs of one data set; random choices depend only on the photograph's name."""

    def __init__(self, segmenter: Segmenter, data: IndexedDataset) -> None:
        self._segmenter = segmenter
        self._n = len(data.classes)
        self._entries = {value: ClassEntry(name) for value, name in enumerate(data.classes) if name != BACKGROUND}
        self._background = Background() if data.has_background else None
        self._rows_of = KnownRows(segmenter)
        classes = tuple(self._entries.values())
        self._bank = words_of(segmenter).text_bank(classes, self._rows_of(words_of(segmenter).texts(classes)))

    def __call__(self, sample: Sample) -> Examined:
        """Examines one photograph. Raises DatasetError: its mask is of another size."""
        rgb, truth = sample.read(self._n)
        with torch.inference_mode():
            features = self._segmenter.encode(rgb)
        areas = np.bincount(truth[truth < self._n], minlength=self._n)
        present = [value for value in self._entries if areas[value]]
        logits = self._logits(features, list(self._entries), self._background)
        labels_of_all = self._labels_of(logits, features.size, list(self._entries))
        predicted = (
            labels_of_all,
            self._labels_of(self._logits(features, present, self._background), features.size, present)
            if present
            else np.zeros(features.size, np.int64),
            self._name_true_segments(truth, logits[: len(self._entries)]),
            self._rename_own_segments(truth, labels_of_all),
        )
        presence = np.full(self._n, np.nan)
        presence[list(self._entries)] = self._segmenter.presence(features, self._bank).double().cpu().numpy()
        counts = np.stack([count(truth, labels, self._n) for labels in predicted])
        visible = [value for value in present if areas[value] >= VISIBLE * areas.sum()]
        recall = self._recall(features, truth, visible, sample.name)
        painted = self._painted(features, [value for value in self._entries if not areas[value]], sample.name)
        return Examined(counts, presence, areas > 0, recall, len(visible), painted)

    def _logits(self, features: Features, values: list[int], background: Background | None) -> Tensor:
        """Logits [len(values), h, w] of classes by mask value, plus a row for the background."""
        vocabulary = Vocabulary(tuple(self._entries[value] for value in values), background)
        refine = self._segmenter.card.refine
        with torch.inference_mode():
            return score_vocabulary(self._segmenter, features, vocabulary, self._rows_of, refine)

    def _labels_of(self, logits: Tensor, size: tuple[int, int], values: list[int]) -> Labels:
        """Mask values [H, W] from the logits of `values`; background is 0."""
        return np.array([*values, 0])[winners(logits, size).labels]

    def _name_true_segments(self, truth: NDArray[np.uint8], logits: Tensor) -> Labels:
        """Name every component of the truth by its highest mean score."""
        values = list(self._entries)
        segments = components(truth, values, 1)
        labels = np.where(truth < self._n, 0, IGNORE).astype(np.int64)
        if not segments.labels:
            return labels
        height, width = logits.shape[1:]
        rows = np.arange(truth.shape[0]) * height // truth.shape[0]
        columns = np.arange(truth.shape[1]) * width // truth.shape[1]
        inside = segments.ids > 0
        # Each segment's score is the sum over the cells of the logits that it touches, by its pixels in them.
        cell = (rows[:, None] * width + columns)[inside]
        pairs, pixels = np.unique((segments.ids[inside] - 1) * (height * width) + cell, return_counts=True)
        owner, place = np.divmod(pairs, height * width)
        votes = logits.flatten(1).cpu()[:, torch.from_numpy(place)] * torch.from_numpy(pixels)
        sums = torch.zeros(len(values), len(segments.labels)).index_add_(1, torch.from_numpy(owner), votes)
        labels[inside] = np.array(values)[sums.argmax(0).numpy()][segments.ids[inside] - 1]
        return labels

    def _rename_own_segments(self, truth: NDArray[np.uint8], labels: Labels) -> Labels:
        """Name every component of the model's labels by the class of most of its true pixels."""
        segments = components(labels.astype(np.uint8), range(self._n), 1)
        counted = truth < self._n
        pairs = np.bincount((segments.ids * self._n + truth)[counted], minlength=(len(segments.labels) + 1) * self._n)
        renamed: Labels = pairs.reshape(-1, self._n).argmax(1)[segments.ids]
        return renamed

    def _recall(
        self, features: Features, truth: NDArray[np.uint8], visible: list[int], name: str
    ) -> NDArray[np.float64]:
        """Sums [4] over the visible classes; further classes come in one order, so vocabularies only grow."""
        total = np.zeros(len(OTHERS))
        random = np.random.default_rng([0, *os.fsencode(name)])
        for value in visible:
            others = [int(other) for other in random.permutation([other for other in self._entries if other != value])]
            for column, n in enumerate(OTHERS):
                won = self._won_by_first(features, [value, *others[:n]])
                small = cv2.resize(truth, won.shape[::-1], interpolation=cv2.INTER_NEAREST) == value
                inside = int(small.sum())  # 0 where a class is thinner than a cell
                total[column] += float(won[small].sum()) / max(1, inside)
        return total

    def _painted(self, features: Features, absent: list[int], name: str) -> float:
        """`Examined.painted` of some absent classes."""
        sample = np.random.default_rng([0, *os.fsencode(name)]).permutation(absent)[:MAX_ABSENT]
        shares = [float(self._won_by_first(features, [int(value)]).mean()) for value in sample]
        return float(np.mean(shares)) if shares else float("nan")

    def _won_by_first(self, features: Features, values: list[int]) -> NDArray[np.bool_]:
        """Cells [h, w] that the first of `values` wins, with the background rule."""
        first: NDArray[np.bool_] = self._logits(features, values, Background()).argmax(0).cpu().numpy() == 0
        return first
