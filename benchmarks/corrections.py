"""A + click on what a word missed: `python -m benchmarks corrections ROOT [SET] [--split val]`.

The words of a photograph are the classes that its mask has. Each segment that misses at least MIN_MISSED of its class
gets one click, where the largest missed part is deepest. The IoU with the class is compared before and after the
click, and with the rule of other tools: the head's best mask is added wherever it lies.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import print_table
from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.masks.bilinear import cut
from lexiseg_model.masks.rle import decode, encode_spans
from lexiseg_model.segmenter import Segmenter, prompts_of
from lexiseg_model.types import ClassEntry, Prompt, Segment, Vocabulary
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, read_dataset
from lexiseg_train.evaluation.scenes.oracle import deepest_point

MODEL = "tiny"
MIN_MISSED = 0.05  # share of a class; where less is missed, nobody clicks
CHANGE = 0.1  # of IoU; what is worse or better by less counts as unchanged

Mask = NDArray[np.bool_]


class Click(NamedTuple):
    """IoU (0 to 1) of a segment with its class: as found, with the head's best mask, and as the service corrects it."""

    before: float
    best: float
    after: float


def clicks_of(segmenter: Segmenter, data: IndexedDataset) -> Iterator[Click]:
    """One click for each segment that misses a part of its class."""
    for sample in data.samples:
        rgb, labels = sample.read(len(data.classes))
        values = [int(value) for value in np.unique(labels) if value not in (0, IGNORE)]
        words = Vocabulary(tuple(ClassEntry(data.classes[value]) for value in values))
        features = segmenter.encode(rgb)
        for segment in tasks.segment("semantic", segmenter, features, words).segments:
            assert segment.class_index is not None
            truth, counted = labels == values[segment.class_index], labels != IGNORE
            click = _clicked(segmenter, features, words, segment, truth, counted)
            if click is not None:
                yield click


def _clicked(
    segmenter: Segmenter, features: Features, words: Vocabulary, segment: Segment, truth: Mask, counted: Mask
) -> Click | None:
    """The IoU around a click on the largest part of `truth` [H, W] that a segment misses; None if it is small."""
    mask = decode(segment.mask)
    missed = _largest_part(truth & ~mask)
    if missed.sum() < MIN_MISSED * truth.sum():
        return None
    click = Prompt((deepest_point(missed),))
    [shown] = prompts_of(segmenter).prompt(features, [click])
    best = decode(encode_spans(cut(shown.masks[0].float().numpy(force=True), features.size), features.size))
    correction = tasks.Options(prompts=(replace(click, segment=segment.id),))
    (corrected,) = tasks.segment("prompt", segmenter, features, words, correction).segments
    masks = (mask, mask | best, decode(corrected.mask))
    return Click(*(_iou(each[counted], truth[counted]) for each in masks))


def _largest_part(mask: Mask) -> Mask:
    """The largest 4-connected part of a mask."""
    _, parts, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = sizes[1:, cv2.CC_STAT_AREA]
    largest: Mask = parts == (1 + int(areas.argmax()) if len(areas) else -1)
    return largest


def _iou(mask: Mask, truth: Mask) -> float:
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def main(arguments: Sequence[str]) -> None:
    """Print mean IoU and the shares of clicks that make a segment worse or better by more than CHANGE."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks corrections")
    parser.add_argument("root", type=Path, help="folder of data sets")
    parser.add_argument("set", nargs="?", default="fashion")
    parser.add_argument("--split", default="val")
    options = parser.parse_args(arguments)
    data = read_dataset(options.root, options.set, options.split)
    clicks = np.array(list(clicks_of(catalogue.load(MODEL), data)))
    before = clicks[:, 0]
    rows = []
    names = ("before", "the head's best mask, anywhere", "after the click")
    for name, values in zip(names, clicks.T, strict=True):
        worse, better = (100 * np.mean(moved > CHANGE) for moved in (before - values, values - before))
        rows.append([name, f"{values.mean():.3f}", f"{worse:.0f} %", f"{better:.0f} %"])
    title = f"A + click on what a word missed, {len(clicks)} segments of {options.set} {options.split}, {MODEL}"
    print_table(title, ["", "mean IoU", f"worse by > {CHANGE}", f"better by > {CHANGE}"], rows)
