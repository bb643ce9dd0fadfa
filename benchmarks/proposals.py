"""Proposals of `tiny` on twenty validation photographs: what they cost, and how good they are.

Four photographs of each data set of `../shared/data`, evenly chosen. Proposals alone, of known images, on one thread,
each photograph in turn. An object is a connected region of one class of at least half a percent of the picture; its IoU
is that with the best proposal. Both that and the share of the picture that proposals cover
are taken at the masks' cells.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clock import print_table
from lexiseg_model import catalogue
from lexiseg_model.data.indexed import BACKGROUND, IGNORE, Sample, read_dataset
from lexiseg_model.data.scenes import components
from lexiseg_model.features import Derived, Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt

DATA, NAMES, EACH = Path("../shared/data"), ("voc", "coco", "street", "camvid", "fashion"), 4
SMALLEST = 0.005  # of the picture, that an object must have
ROUNDS = 5
BUSIEST = 6
CLICK = Prompt((Point(100, 100),))

Mask = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


class Photograph(NamedTuple):
    """Features of one, and its truth: `ids` [H, W], 0 for no object, and the pixels that count."""

    features: Features
    ids: NDArray[np.int32]
    known: Mask
    n_objects: int


def photographs(segmenter: Segmenter, root: Path = DATA) -> list[Photograph]:
    """EACH of every data set."""
    chosen = []
    for name in NAMES:
        data = read_dataset(root, name, "val")
        classes = [value for value, label in enumerate(data.classes) if label != BACKGROUND]
        places = range(0, len(data.samples), len(data.samples) // EACH)[:EACH]
        chosen += [_photograph(segmenter, data.samples[place], classes) for place in places]
    return chosen


def _photograph(segmenter: Segmenter, sample: Sample, classes: list[int]) -> Photograph:
    plan, labels = segmenter.plan(sample.read_image()), sample.read_mask()
    objects = components(labels, classes, SMALLEST * labels.size)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    return Photograph(features, objects.ids, labels != IGNORE, len(objects.labels))


def at_cells(picture: NDArray[Number], cells: tuple[int, int]) -> NDArray[Number]:
    """What lies under the middle of each of h x w cells."""
    (height, width), (rows, columns) = picture.shape, cells
    down = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    under: NDArray[Number] = picture[down[:, None], across]
    return under


def quality(masks: Mask, photograph: Photograph) -> tuple[list[float], float]:
    """The IoU of each object with the best of masks [N, h, w], and the share of the picture that they cover."""
    cells = masks.shape[1], masks.shape[2]
    known = at_cells(photograph.known, cells)
    of_object = at_cells(photograph.ids, cells)[known] == np.arange(1, photograph.n_objects + 1)[:, None]
    inside = masks[:, known]
    if not len(masks):
        return [0.0] * photograph.n_objects, 0.0
    shared = of_object.astype(np.float32) @ inside.T.astype(np.float32)  # [objects, N]
    either = of_object.sum(1)[:, None] + inside.sum(1) - shared
    return (shared / np.maximum(either, 1)).max(1).tolist(), float(inside.any(0).mean())


def spent(segmenter: Segmenter, features: Features) -> float:
    """CPU milliseconds of proposals of an image that was clicked on before."""
    known = replace(features, derived=Derived())
    segmenter.prompt(known, [CLICK])
    began = time.process_time()
    segmenter.propose(known)
    return 1e3 * (time.process_time() - began)


def run() -> None:
    """Of each photograph the median of its rounds; what they find."""
    torch.set_num_threads(1)
    if not DATA.is_dir():
        print(f"No photographs at {DATA}: nothing is proposed.")
        return
    segmenter = catalogue.load("tiny", device="cpu")
    chosen = photographs(segmenter)
    ious: list[float] = []
    covered, counts = [], []
    for photograph in chosen:
        masks = segmenter.propose(photograph.features).masks
        of_objects, share = quality((masks > 0).numpy(), photograph)
        ious += of_objects
        covered.append(share)
        counts.append(len(masks))
    rounds = [[spent(segmenter, one.features) for one in chosen] for _ in range(ROUNDS)]
    each = sorted(median(times) for times in zip(*rounds, strict=True))
    busiest = each[-BUSIEST:]
    table = {
        "CPU ms, mean": f"{fmean(each):.0f}",
        "median": f"{median(each):.0f}",
        f"the {BUSIEST} busiest": f"{busiest[0]:.0f} to {busiest[-1]:.0f}",
        "masks": f"{fmean(counts):.1f}",
        "objects": str(len(ious)),
        "IoU with the best, %": f"{100 * fmean(ious):.2f}",
        "covered, %": f"{100 * fmean(covered):.2f}",
    }
    title = f"Proposals of tiny, {len(chosen)} validation photographs, one thread"
    print_table(title, list(table), [list(table.values())])
