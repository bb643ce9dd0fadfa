"""Proposals of `tiny` on twenty validation photographs, `python -m benchmarks proposals ROOT`: CPU time, IoU, coverage.

Uses four photographs of each data set in ROOT, evenly spaced. CPU time is for `propose` on cached features, on one
thread. An object is a connected region of one class of at least 0.5 % of the image; its IoU is that of its best
proposal. IoU and coverage are computed on the masks' grid.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import print_table
from lexiseg_model.abilities import prompts_of, proposing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Derived, Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, Sample, read_dataset
from lexiseg_train.data.scenes import components

NAMES, EACH = ("voc", "coco", "street", "camvid", "fashion"), 4
MIN_AREA = 0.005  # of an object, share of the image
ROUNDS = 5
SLOWEST = 6  # photographs whose range of times is reported
CLICK = Prompt((Point(100, 100),))

Mask = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


class Photograph(NamedTuple):
    """A photograph's features and ground truth: object ids [H, W], 0 = none; labelled pixels `known` [H, W]."""

    features: Features
    ids: NDArray[np.int32]
    known: Mask
    n_objects: int


def photographs(segmenter: Segmenter, root: Path) -> list[Photograph]:
    """EACH photographs of every data set."""
    chosen = []
    for name in NAMES:
        data = read_dataset(root, name, "val")
        classes = [value for value, label in enumerate(data.classes) if label != BACKGROUND]
        places = range(0, len(data.samples), len(data.samples) // EACH)[:EACH]
        chosen += [_photograph(segmenter, data.samples[place], classes) for place in places]
    return chosen


def _photograph(segmenter: Segmenter, sample: Sample, classes: list[int]) -> Photograph:
    labels = sample.read_mask()
    objects = components(labels, classes, MIN_AREA * labels.size)
    return Photograph(segmenter.encode(sample.read_image()), objects.ids, labels != IGNORE, len(objects.labels))


def at_cells(picture: NDArray[Number], cells: tuple[int, int]) -> NDArray[Number]:
    """Sample a picture [H, W] at the centres of h x w cells."""
    (height, width), (rows, columns) = picture.shape, cells
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    samples: NDArray[Number] = picture[y[:, None], x]
    return samples


def quality(masks: Mask, photograph: Photograph) -> tuple[list[float], float]:
    """Each object's best IoU with masks [N, h, w], and the share of labelled pixels that the masks cover."""
    cells = masks.shape[1], masks.shape[2]
    known = at_cells(photograph.known, cells)
    of_object = at_cells(photograph.ids, cells)[known] == np.arange(1, photograph.n_objects + 1)[:, None]
    inside = masks[:, known]
    if not len(masks):
        return [0.0] * photograph.n_objects, 0.0
    intersection = of_object.astype(np.float32) @ inside.T.astype(np.float32)  # [objects, N]
    union = of_object.sum(1)[:, None] + inside.sum(1) - intersection
    return (intersection / np.maximum(union, 1)).max(1).tolist(), float(inside.any(0).mean())


def cpu_ms(segmenter: Segmenter, features: Features) -> float:
    """CPU milliseconds of proposals, after a click has filled the prompt's caches."""
    fresh = replace(features, derived=Derived())
    prompts_of(segmenter).prompt(fresh, [CLICK])
    start = time.process_time()
    proposing(segmenter).propose(fresh)
    return 1e3 * (time.process_time() - start)


def main(arguments: Sequence[str]) -> None:
    """Print CPU time (median of ROUNDS per photograph), IoU and coverage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks proposals", description=__doc__)
    parser.add_argument("root", type=Path, help=f"folder of the data sets {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    segmenter = catalogue.load("tiny", device="cpu", runtime="auto")
    sample = photographs(segmenter, options.root)
    ious: list[float] = []
    coverage, counts = [], []
    for photograph in sample:
        masks = proposing(segmenter).propose(photograph.features).masks
        best_ious, covered = quality((masks > 0).numpy(), photograph)
        ious += best_ious
        coverage.append(covered)
        counts.append(len(masks))
    rounds = [[cpu_ms(segmenter, photograph.features) for photograph in sample] for _ in range(ROUNDS)]
    medians = sorted(median(times) for times in zip(*rounds, strict=True))
    slowest = medians[-SLOWEST:]
    table = {
        "CPU ms, mean": f"{fmean(medians):.0f}",
        "median": f"{median(medians):.0f}",
        f"the {SLOWEST} slowest": f"{slowest[0]:.0f} to {slowest[-1]:.0f}",
        "masks": f"{fmean(counts):.1f}",
        "objects": str(len(ious)),
        "best IoU per object, %": f"{100 * fmean(ious):.2f}",
        "covered, %": f"{100 * fmean(coverage):.2f}",
    }
    title = f"Proposals of tiny, {len(sample)} validation photographs, one thread"
    print_table(title, list(table), [list(table.values())])
