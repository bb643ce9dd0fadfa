"""Clicks on what words left: `python -m benchmarks corrections ROOT [SET:SPLIT ...] [--photographs 24] [--model tiny]`.

The words of a photograph are the classes that its mask has. A segment gets a positive click where the largest part that
it misses is deepest, if that is MIN_WRONG of its class, and apart from it a negative one in the largest part that is
none of its class, if that is MIN_WRONG of the segment. Printed is the IoU with the class before and after the click.
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
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, Prompt, Segment, Vocabulary
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, evenly_spread, read_dataset
from lexiseg_train.evaluation.scenes.judges import deepest_point

SETS = ("fashion:val", "street:val", "camvid:val", "voc:val", "car-parts:train", "msrc:train")
MORE_SETS = ("corridors:train", "garments:train", "faces:train", "scenes:train")
MIN_WRONG = 0.05  # share of a class or a segment; where less is wrong, nobody clicks
CHANGE = 0.1  # of IoU; what is worse or better by less counts as unchanged

Mask = NDArray[np.bool_]


class Click(NamedTuple):
    """IoU (0 to 1) of a segment with its class, before and after a click."""

    positive: bool
    before: float
    after: float


def clicks_of(segmenter: Segmenter, data: IndexedDataset, photographs: int) -> Iterator[Click]:
    """The clicks on the segments of so many photographs, evenly over a set."""
    nothing = data.classes.index(BACKGROUND) if BACKGROUND in data.classes else IGNORE
    for sample in evenly_spread(data.samples, photographs):
        rgb, labels = sample.read(len(data.classes))
        values = [int(value) for value in np.unique(labels) if value not in (nothing, IGNORE)]
        words = Vocabulary(tuple(ClassEntry(data.classes[value]) for value in values))
        features = segmenter.encode(rgb)
        for segment in tasks.segment("semantic", segmenter, features, words).segments if values else ():
            assert segment.class_index is not None
            truth, counted = labels == values[segment.class_index], labels != IGNORE
            yield from _clicked(segmenter, features, words, segment, truth, counted)


def _clicked(
    segmenter: Segmenter, features: Features, words: Vocabulary, segment: Segment, truth: Mask, counted: Mask
) -> Iterator[Click]:
    """What clicks do to a segment whose class is `truth` [H, W], over the pixels that are `counted` [H, W]."""
    mask = decode(segment.mask)
    for positive, whole, wrong in ((True, truth, truth & ~mask), (False, mask, mask & ~truth)):
        part = largest_part(wrong & counted)
        if not part.any() or part.sum() < MIN_WRONG * whole.sum():
            continue
        click = Prompt((replace(deepest_point(part), positive=positive),), segment=segment.id)
        [corrected] = tasks.segment("prompt", segmenter, features, words, tasks.Options(prompts=(click,))).segments
        yield Click(positive, *(iou_of(each[counted], truth[counted]) for each in (mask, decode(corrected.mask))))


def largest_part(mask: Mask) -> Mask:
    """The largest 4-connected part of a mask."""
    _, parts, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = sizes[1:, cv2.CC_STAT_AREA]
    largest: Mask = parts == (1 + int(areas.argmax()) if len(areas) else -1)
    return largest


def iou_of(mask: Mask, truth: Mask) -> float:
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _row(name: str, clicks: Sequence[Click]) -> list[str]:
    """A set, the sign and number of its clicks, mean IoU, and how many clicks change it by more than CHANGE."""
    before, after = (np.array([click[place] for click in clicks]) for place in (1, 2))
    worse, better = (100 * np.mean(moved > CHANGE) for moved in (before - after, after - before))
    sign = "+" if clicks[0].positive else "-"
    means = (f"{values.mean():.3f}" for values in (before, after))
    return [name, sign, str(len(clicks)), *means, f"{worse:.1f} %", f"{better:.0f} %"]


def main(arguments: Sequence[str]) -> None:
    """Print the mean IoU of each set and sign, and the shares of clicks that make it worse or better by CHANGE."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks corrections")
    parser.add_argument("root", type=Path, help="folder of data sets")
    parser.add_argument("sets", nargs="*", default=[*SETS, *MORE_SETS], metavar="SET:SPLIT")
    parser.add_argument("--photographs", type=int, default=24, help="of each set")
    parser.add_argument("--model", default="tiny", help="name of a model, or a model directory")
    options = parser.parse_args(arguments)
    folder = Path(options.model)
    if folder.is_dir():
        segmenter = catalogue.load_folder(folder, runtime="auto")
    else:
        segmenter = catalogue.load(options.model, runtime="auto")
    rows = []
    for each in options.sets:
        name, _, split = each.partition(":")
        clicks = [*clicks_of(segmenter, read_dataset(options.root, name, split or "val"), options.photographs)]
        by_sign = [[click for click in clicks if click.positive == sign] for sign in (True, False)]
        rows += [_row(each, some) for some in by_sign if some]
    head = ["set", "click", "n", "before", "after", f"worse by > {CHANGE}", f"better by > {CHANGE}"]
    print_table(f"One click on each segment that words left wrong, {options.model}", head, rows)
