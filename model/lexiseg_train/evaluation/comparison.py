"""Two models on the same photographs, with confidence intervals by bootstrap: `lexiseg eval --compare`, and a training.

    read_pair -> examine (one model) -> comparison -> compare, compare_counts -> measure

Measures of a photograph separate kinds of errors: the whole class list; only classes that are present; true segments
that need a name; own segments with their true names; each class by itself and among others; absent classes, which
should win no pixel. Photographs are resampled with replacement, the same ones for both models.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks.overlay import paint
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, Segment, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, Sample, evenly_spread, read_dataset
from lexiseg_train.data.scenes import components
from lexiseg_train.evaluation.counts import count, rounded, scores
from lexiseg_train.evaluation.run import Report, count_photographs

COLUMNS = ("mIoU", "only present", "oracle segments", "oracle names")
OTHERS = (0, 1, 3, 19)  # numbers of further classes in a vocabulary
VISIBLE = 0.01  # share of counted pixels: smaller classes are not tested among others
MAX_ABSENT = 20  # absent classes of a photograph that are tested
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles of the resamples' differences
ABSENT = "an absent class paints"
MEASURES = (*COLUMNS, "presence AUC", "recall alone", *(f"kept with {n} more" for n in OTHERS[1:]), ABSENT)
NAN = float("nan")
TRAIN_PHOTOGRAPHS = 60  # of the training split, evenly chosen: overfitting shows there

Labels = NDArray[np.integer]
Weights = NDArray[np.float64]  # [R, P]: how often each of P photographs is in each of R resamples
Rgb = NDArray[np.uint8]
FIELDS = {"before": "a", "after": "b", "difference": "difference", "low": "low", "high": "high"}  # of a change in JSON
GAP = 8  # white pixels between pictures


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
        classes, self._background = data.vocabulary.classes, data.vocabulary.background
        self._entries = dict(zip(data.named, classes, strict=True))
        self._rows_of = KnownRows(segmenter)
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
        sample = np.random.default_rng([0, *os.fsencode(name)]).permutation(absent)[:MAX_ABSENT]
        shares = [float(self._won_by_first(features, [int(value)]).mean()) for value in sample]
        return float(np.mean(shares)) if shares else float("nan")

    def _won_by_first(self, features: Features, values: list[int]) -> NDArray[np.bool_]:
        """Cells [h, w] that the first of `values` wins, with the background rule."""
        first: NDArray[np.bool_] = self._logits(features, values, Background()).argmax(0).cpu().numpy() == 0
        return first


class Difference(NamedTuple):
    """One measure of two models in percent; NaN where there was nothing to measure."""

    measure: str
    a: float
    b: float
    difference: float  # B less A, with its interval from `low` to `high`
    low: float
    high: float


class Pair(NamedTuple):
    split: IndexedDataset
    train: tuple[Sample, ...]

    @property
    def photographs(self) -> int:
        return len(self.split.samples) + len(self.train)


class Examination(NamedTuple):
    """Results of one model: each photograph of the split, and counts [3, K] of training photographs."""

    records: list[Examined]
    train: list[NDArray[np.int64]]


@dataclass(frozen=True)
class Comparison:
    dataset: str
    split: str
    photographs: int
    train_photographs: int
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values in percent; null where there was nothing to measure."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.photographs,
            "train_images": self.train_photographs,
            "resamples": RESAMPLES,
            "measures": {
                row.measure: {
                    **{name: rounded(getattr(row, name)) for name in ("a", "b", "difference")},
                    "interval": [rounded(row.low), rounded(row.high)],
                }
                for row in self.differences
            },
        }


def read_pair(root: Path, name: str, split: str, limit: int | None = None) -> Pair:
    """List a split and TRAIN_PHOTOGRAPHS of the training split; with a limit, the first so many, and so many of it."""
    data = read_dataset(root, name, split)
    data = IndexedDataset(data.name, data.split, data.classes, data.samples[:limit])
    if split == "train" or not (root / name / "train").is_dir():
        return Pair(data, ())
    samples = read_dataset(root, name, "train").samples
    n = min(len(samples), TRAIN_PHOTOGRAPHS if limit is None else limit)
    return Pair(data, tuple(samples[index] for index in np.linspace(0, len(samples) - 1, n).round().astype(int)))


def examine(segmenter: Segmenter, pair: Pair, on_image: Callable[[], None] = lambda: None) -> Examination:
    """Run a model over the photographs; `on_image` is called after each."""
    examiner = Examiner(segmenter, pair.split)
    records, train = [], []
    for sample in pair.split.samples:
        records.append(examiner(sample))
        on_image()
    for counts in count_photographs(segmenter, replace(pair.split, samples=pair.train)):
        train.append(counts)
        on_image()
    return Examination(records, train)


def comparison(pair: Pair, a: Examination, b: Examination) -> Comparison:
    rows: Sequence[Difference] = compare(a.records, b.records)
    if pair.train:
        rows = [rows[0], compare_counts(f"mIoU, train-{len(pair.train)}", a.train, b.train), *rows[1:]]
    return Comparison(pair.split.name, pair.split.split, len(a.records), len(a.train), tuple(rows))


def compare(a: Sequence[Examined], b: Sequence[Examined]) -> list[Difference]:
    """Differences of all measures, of the same photographs in the same order."""
    weights = _weights(len(a))
    of_a, of_b = measure(a, weights), measure(b, weights)
    return [_difference(name, of_a[name], of_b[name]) for name in MEASURES]


def compare_counts(name: str, a: Sequence[NDArray[np.int64]], b: Sequence[NDArray[np.int64]]) -> Difference:
    """Difference in mIoU from counts [3, K] of the same photographs in the same order."""
    weights = _weights(len(a))
    return _difference(name, _miou(np.stack(a), weights), _miou(np.stack(b), weights))


def measure(records: Sequence[Examined], weights: Weights) -> dict[str, NDArray[np.float64]]:
    """Every measure [R] in percent, with photographs weighted by each of R rows."""
    counts = np.stack([record.counts for record in records])  # [P, 4, 3, K]
    figures = {name: _miou(counts[:, column], weights) for column, name in enumerate(COLUMNS)}
    figures["presence AUC"] = 100 * _presence_auc(records, weights)
    recall = weights @ np.stack([record.recall for record in records])  # [R, 4]
    figures["recall alone"] = 100 * _ratio(recall[:, 0], weights @ [record.n_visible for record in records])
    for column, n in enumerate(OTHERS[1:], 1):
        figures[f"kept with {n} more"] = 100 * _ratio(recall[:, column], recall[:, 0])
    painted = np.array([record.painted for record in records])
    figures[ABSENT] = 100 * _ratio(weights @ np.nan_to_num(painted), weights @ ~np.isnan(painted))
    return figures


def _weights(n: int) -> Weights:
    """Weights of n photographs: first each once, then the resamples."""
    resamples = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return np.concatenate([np.ones((1, n)), resamples])


def _difference(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    resamples = (b - a)[1:]
    resamples = resamples[~np.isnan(resamples)]
    low, high = np.percentile(resamples, INTERVAL) if len(resamples) else (NAN, NAN)
    return Difference(name, float(a[0]), float(b[0]), float(b[0] - a[0]), float(low), float(high))


def _miou(counts: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """mIoU [R] by detectron2's convention from counts [P, 3, K] and weights [R, P]."""
    hits, truth, predicted = np.moveaxis(
        (weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:]), 1, 0
    )
    present = truth > 0
    ious = np.divide(hits, truth + predicted - hits, out=np.zeros_like(hits), where=present)
    return 100 * _ratio(ious.sum(1), present.sum(1))


def _presence_auc(records: Sequence[Examined], weights: Weights) -> NDArray[np.float64]:
    """Mean AUC [R] of presence within each class, not across: that sky is commoner than boats must not count."""
    presence = np.stack([record.presence for record in records])  # [P, K]
    present = np.stack([record.present for record in records])
    defined = ~np.isnan(presence).any(0)
    areas = [_class_auc(presence[:, k], present[:, k], weights) for k in np.flatnonzero(defined)]
    if not areas:
        return np.full(len(weights), np.nan)
    return _ratio(np.nansum(areas, 0), (~np.isnan(areas)).sum(0))


def _class_auc(value: NDArray[np.float64], present: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """AUC [R] of one class; NaN where all weighted photographs show it, or none. Ties count half."""
    order = np.argsort(value, kind="stable")
    weight = weights[:, order]
    below = np.cumsum(np.where(present[order], 0, weight), 1)
    _, first, group = np.unique(value[order], return_index=True, return_inverse=True)
    last = np.append(first[1:], len(order)) - 1
    before = np.where(first > 0, below[:, first - 1], 0)  # photographs without the class strictly below a group of ties
    rank = ((before + below[:, last]) / 2)[:, group]
    right = (np.where(present[order], weight, 0) * rank).sum(1)
    pairs = (weight.sum(1) - below[:, -1]) * below[:, -1]
    return _ratio(right, pairs)


def _ratio(of: NDArray[np.number], to: NDArray[np.number]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.full(of.shape, np.nan)
    np.divide(of, to, out=ratio, where=to > 0)
    return ratio


@dataclass(frozen=True)
class BeforeAfter:
    """Counts [P, 3, K] of two models on the same photographs: hits, truth, predicted."""

    classes: tuple[str, ...]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @property
    def change(self) -> Difference:
        return compare_counts("mIoU", [*self.before], [*self.after])

    def write(self, path: Path, data: IndexedDataset, models: tuple[str, str], about: dict[str, Any]) -> Report:
        """Write `about` and the reports of both models as JSON; return that of the second."""
        reports = [
            Report(name, data.name, data.split, len(data.samples), data.classes, {}, scores(counts.sum(0)))
            for name, counts in zip(models, (self.before, self.after), strict=True)
        ]
        content = about | dict(zip(("before", "after"), (report.to_json() for report in reports), strict=True))
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
        return reports[1]

    def _rows(self) -> list[Difference]:
        """IoU in percent of each class that occurs, mIoU, pixel accuracy, and intervals of their changes."""
        occurring = np.flatnonzero(self.before[:, 1].sum(0))
        return [
            *(
                compare_counts(f"IoU {self.classes[k]}", [*self.before[:, :, [k]]], [*self.after[:, :, [k]]])
                for k in occurring
            ),
            self.change,
            compare_counts("pixel accuracy", [*_all_pixels(self.before)], [*_all_pixels(self.after)]),
        ]

    def changes(self) -> list[dict[str, Any]]:
        """The rows of `table` for JSON; null where there was nothing to measure."""
        return [
            {"measure": row.measure, **{field: rounded(getattr(row, name)) for field, name in FIELDS.items()}}
            for row in self._rows()
        ]

    def table(self) -> str:
        rows = self._rows()
        width = max(len(row.measure) for row in rows)
        lines = [f"{'':{width}}  before   after  change  95 %"]
        for row in rows:
            interval = "" if math.isnan(row.low) else f"  {row.low:+.1f} to {row.high:+.1f}"
            lines.append(f"{row.measure:{width}}{row.a:8.1f}{row.b:8.1f}{row.difference:+8.1f}{interval}")
        return "\n".join(lines)


def counts_of(segmenter: Segmenter, data: IndexedDataset) -> NDArray[np.int64]:
    return np.stack(list(count_photographs(segmenter, data)))


def write_samples(before: Segmenter, after: Segmenter, data: IndexedDataset, count: int, folder: Path) -> list[Path]:
    """Write `folder/NAME.png` for evenly chosen photographs: truth, before, after, side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in evenly_spread(data.samples, count):
        image = sample.read_image()
        pictures = [_paint_truth(image, sample.read_mask(), data)]
        for segmenter in (before, after):
            answer = segment("semantic", segmenter, segmenter.encode(image), data.vocabulary)
            pictures.append(paint(image, answer.label_map, answer.segments))
        gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
        paths.append(folder / f"{sample.name}.png")
        Image.fromarray(np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], 1)).save(paths[-1])
    return paths


def _paint_truth(image: Rgb, mask: NDArray[np.uint8], data: IndexedDataset) -> Rgb:
    segments, labels = list[Segment](), np.zeros(mask.shape, np.uint16)
    for value, name in data.named.items():
        inside = mask == value
        if inside.any():
            rle = encode_mask(inside)
            segments.append(Segment(len(segments) + 1, name, value - data.has_background, 1.0, rle))
            labels[inside] = len(segments)
    return paint(image, labels, tuple(segments))


def _all_pixels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts [P, 3, 1] of one class with the pixel accuracy as IoU."""
    hits, truth = counts[:, 0].sum(1), counts[:, 1].sum(1)
    return np.stack([hits, truth, hits], 1)[..., None]
