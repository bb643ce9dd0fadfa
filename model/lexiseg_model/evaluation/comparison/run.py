"""`lexiseg eval --compare A B`: each model goes over the photographs once; differences come from the records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IndexedDataset, Sample, read_dataset
from lexiseg_model.evaluation.comparison.bootstrap import RESAMPLES, Difference, compare, compare_counts
from lexiseg_model.evaluation.comparison.photograph import Examined, Examiner
from lexiseg_model.segmenter import Segmenter

OF_TRAIN = 60  # photographs of the training split, evenly chosen: what was learned by heart shows there


class Pair(NamedTuple):
    """The split that is examined, and some photographs of the training split; none where there is no such split."""

    split: IndexedDataset
    train: tuple[Sample, ...]

    @property
    def photographs(self) -> int:
        return len(self.split.samples) + len(self.train)


class Examination(NamedTuple):
    """Of one model and data set: everything about each photograph, and counts [3, K] of those it was trained on."""

    records: list[Examined]
    train: list[NDArray[np.int64]]


@dataclass(frozen=True)
class Comparison:
    """Two models on one data set."""

    dataset: str
    split: str
    photographs: int
    train_photographs: int
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values in percent; null where there was nothing to measure."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.photographs,
            "train_images": self.train_photographs,
            "resamples": RESAMPLES,
            "measures": {
                row.measure: {
                    "a": _rounded(row.a),
                    "a_error": _rounded(row.a_error),
                    "b": _rounded(row.b),
                    "b_error": _rounded(row.b_error),
                    "difference": _rounded(row.difference),
                    "interval": [_rounded(row.low), _rounded(row.high)],
                    "in_favour_of_b": _rounded(row.in_favour),
                }
                for row in self.differences
            },
        }


def read_pair(root: Path, name: str, split: str, limit: int | None = None) -> Pair:
    """A split, or its first `limit` photographs, with `OF_TRAIN` of the training split beside it.

    Raises:
        DatasetError: the split is missing or not in the expected layout.
    """
    data = read_dataset(root, name, split)
    data = IndexedDataset(data.name, data.split, data.classes, data.samples[:limit])
    if split == "train" or not (root / name / "train").is_dir():
        return Pair(data, ())
    samples = read_dataset(root, name, "train").samples
    n = min(len(samples), OF_TRAIN if limit is None else limit)
    return Pair(data, tuple(samples[index] for index in np.linspace(0, len(samples) - 1, n).round().astype(int)))


def examine(segmenter: Segmenter, pair: Pair, on_image: Callable[[], None] = lambda: None) -> Examination:
    """One pass over the photographs; `on_image` is called after each.

    Raises:
        DatasetError: a mask is not of its photograph's size.
    """
    examiner = Examiner(segmenter, pair.split)
    records, train = [], []
    for sample in pair.split.samples:
        records.append(examiner(sample))
        on_image()
    for sample in pair.train:
        train.append(examiner.whole_list(sample))
        on_image()
    return Examination(records, train)


def comparison(pair: Pair, a: Examination, b: Examination) -> Comparison:
    """What two examinations of the same photographs say of the two models."""
    rows: Sequence[Difference] = compare(a.records, b.records)
    if pair.train:
        rows = [rows[0], compare_counts(f"mIoU, train-{len(pair.train)}", a.train, b.train), *rows[1:]]
    return Comparison(pair.split.name, pair.split.split, len(a.records), len(a.train), tuple(rows))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
