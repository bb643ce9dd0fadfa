"""What training changed, on the same photographs: a table by class, and pictures of truth, before and after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset
from lexiseg_model.evaluation.run import Report, evaluate
from lexiseg_model.masks.overlay import paint
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, ClassEntry, Segment, Vocabulary

Rgb = NDArray[np.uint8]
GAP = 8  # white pixels between pictures


class BeforeAfter(NamedTuple):
    """Two models on one split."""

    before: Report
    after: Report

    def table(self) -> str:
        """IoU of every class in percent, their mean, and pixel accuracy; a dash where no pixel is of a class."""
        first, second = self.before.scores, self.after.scores
        rows = [
            *zip((f"IoU {name}" for name in self.before.classes), first.per_class, second.per_class, strict=True),
            ("mIoU", first.miou, second.miou),
            ("pixel accuracy", first.pixel_accuracy, second.pixel_accuracy),
        ]
        width = max(len(name) for name, *_ in rows)
        lines = [f"{'':{width}}  before   after  change"]
        for name, was, is_now in rows:
            cells = "".join(f"{'-' if math.isnan(value) else f'{value:.1f}':>8}" for value in (was, is_now))
            lines.append(f"{name:{width}}{cells}{'' if math.isnan(is_now - was) else f'{is_now - was:+8.1f}'}")
        return "\n".join(lines)


def compare(before: Segmenter, after: Segmenter, data: IndexedDataset) -> BeforeAfter:
    """Measures both with the class list of the data set."""
    return BeforeAfter(evaluate(before, data), evaluate(after, data))


def write_samples(before: Segmenter, after: Segmenter, data: IndexedDataset, count: int, folder: Path) -> list[Path]:
    """Writes `folder/NAME.png` for photographs evenly over the split: the truth, before, after, side by side."""
    count = min(count, len(data.samples))
    chosen = [data.samples[place * len(data.samples) // count] for place in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in chosen:
        image = sample.read_image()
        pictures = [_truth(image, sample.read_mask(), data), *(_answer(each, image, data) for each in (before, after))]
        gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
        paths.append(folder / f"{sample.name}.png")
        Image.fromarray(np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], 1)).save(paths[-1])
    return paths


def _answer(segmenter: Segmenter, image: Rgb, data: IndexedDataset) -> Rgb:
    classes = tuple(ClassEntry(name) for name in data.classes if name != BACKGROUND)
    vocabulary = Vocabulary(classes, Background() if data.has_background else None, data.name)
    plan = segmenter.plan(image)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    answer = segment("semantic", segmenter, features, vocabulary)
    return paint(image, answer.label_map, answer.segments)


def _truth(image: Rgb, mask: NDArray[np.uint8], data: IndexedDataset) -> Rgb:
    values = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
    shown = [value for value in values if (mask == value).any()]
    segments = tuple(
        Segment(number, data.classes[value], values.index(value), 1.0, encode_mask(mask == value))
        for number, value in enumerate(shown, start=1)
    )
    labels = np.zeros(mask.shape, np.uint16)
    for entry, value in zip(segments, shown, strict=True):
        labels[mask == value] = entry.id
    return paint(image, labels, segments)
