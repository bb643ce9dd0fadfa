"""Comparison of a model before and after training: a table by class, and pictures of truth, before and after."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.overlay import paint
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import Segment
from lexiseg_train.data.indexed import IndexedDataset, evenly_spread
from lexiseg_train.evaluation.comparison import Difference, compare_counts
from lexiseg_train.evaluation.counts import rounded, scores
from lexiseg_train.evaluation.run import Report, count_photographs

Rgb = NDArray[np.uint8]
FIELDS = {"before": "a", "after": "b", "difference": "difference", "low": "low", "high": "high"}  # of a change in JSON
GAP = 8  # white pixels between pictures


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
        pictures = [
            _paint_truth(image, sample.read_mask(), data),
            *(_paint_answer(each, image, data) for each in (before, after)),
        ]
        gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
        paths.append(folder / f"{sample.name}.png")
        Image.fromarray(np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], 1)).save(paths[-1])
    return paths


def _paint_answer(segmenter: Segmenter, image: Rgb, data: IndexedDataset) -> Rgb:
    answer = segment("semantic", segmenter, segmenter.encode(image), data.vocabulary)
    return paint(image, answer.label_map, answer.segments)


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
