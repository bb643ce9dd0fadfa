"""How well an object is followed that a box shows in the first frame of a clip, and what that costs.

The clips are those of `../shared/data` (DAVIS 2016), the box is the tight one of the first frame's true mask. J is the
mean over the frames of the intersection over union of mask and truth, the first frame included, as for DAVIS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clock import print_table
from lexiseg_model.catalogue import load
from lexiseg_model.features import Features
from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import decode, encode_spans
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Start

CLIPS = Path("../shared/data/clips")
NAMES = ("cows", "car-roundabout", "dance-twirl", "libby")
END = 5  # last frames, whose masks are compared with their objects' size
SPECK = 20  # pixels: a smaller part does not count
FOUND = 0.2  # intersection over union of a mask that is on its object

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
# A new clip's box -> from the next frame and its truth to the mask there, None where the object is said to be lost.
Way = Callable[[Box], Callable[[Features, Mask], PromptMasks | None]]


def run() -> None:
    """Prints the tables of docs/video.md."""
    torch.set_num_threads(1)
    if not CLIPS.is_dir():
        print(f"No clips at {CLIPS}: there is nothing to follow.")
        return
    segmenter = load("tiny", device="cpu")
    ways: dict[str, Way] = {
        "the first mask, copied": lambda box: _copied(segmenter, box),
        "the box stays": lambda box: lambda features, _: _boxed(segmenter, features, box),
        "followed": lambda box: _followed(segmenter, box),
        "each frame's true box": lambda box: lambda features, truth: _boxed(segmenter, features, _box(truth) or box),
    }
    rows, told = [], []
    for name in NAMES:
        truths = [*_truths(name)]
        box = _box(truths[0])
        assert box is not None, f"{name} begins without its object"
        answering = {way: begin(box) for way, begin in ways.items()}
        overlaps: dict[str, list[float]] = {way: [] for way in ways}
        lost, parted, ends, seconds = 0, 0, list[float](), 0.0
        for features, truth in zip(_seen(segmenter, name), truths, strict=True):
            segmenter.prompt(features, [Prompt(box=box)])  # what all prompts about a frame share
            for way, answer in answering.items():
                began = time.process_time()
                masks = answer(features, truth)
                if way == "followed":
                    seconds += time.process_time() - began
                    mask = None if masks is None else _pixels(masks, truth)
                    lost += mask is None
                    parted += mask is not None and _is_parted(mask)
                    ends.append(0.0 if mask is None else mask.sum() / max(1, truth.sum()))
                overlaps[way].append(_iou(masks, truth))
        rows.append([name, *(f"{100 * float(np.mean(of_way)):.1f}" for of_way in overlaps.values())])
        found = [value >= FOUND for value in overlaps["followed"]]
        size, cost = f"{np.mean(ends[-END:]):.2f}", f"{1e3 * seconds / len(truths):.0f}"
        told.append([name, f"{sum(found)} of {len(found)}", str(lost), str(parted), size, cost])
    rows.append(["mean", *(f"{np.mean([float(row[place]) for row in rows]):.1f}" for place in range(1, 1 + len(ways)))])
    print_table("An object from the first frame's box: J, %", ["clip", *ways], rows)
    found_in = f"frames with J of at least {FOUND}"
    head = ["clip", found_in, "said to be lost", "in parts", f"size in the last {END}", "ms of CPU a frame"]
    print_table("Followed", head, told)


def _copied(segmenter: Segmenter, box: Box) -> Callable[[Features, Mask], PromptMasks]:
    first: list[PromptMasks] = []

    def answer(features: Features, truth: Mask) -> PromptMasks:
        if not first:
            first.append(_boxed(segmenter, features, box))
        return first[0]

    return answer


def _followed(segmenter: Segmenter, box: Box) -> Callable[[Features, Mask], PromptMasks | None]:
    follower = Follower()

    def answer(features: Features, truth: Mask) -> PromptMasks | None:
        starts = [] if len(follower) else [Start(1, Prompt(box=box))]
        (sight,) = follower.step(segmenter, features, starts)
        return sight.mask

    return answer


def _boxed(segmenter: Segmenter, features: Features, box: Box) -> PromptMasks:
    (answer,) = segmenter.prompt(features, [Prompt(box=box)])
    return answer


def _iou(masks: PromptMasks | None, truth: Mask) -> float:
    if masks is None:
        return float(not truth.any())
    mask = _pixels(masks, truth)
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _pixels(masks: PromptMasks, truth: Mask) -> Mask:
    size = (truth.shape[0], truth.shape[1])
    return decode(encode_spans(cut(masks.masks[0].float().numpy(), size), size)).astype(bool)


def _is_parted(mask: Mask) -> bool:
    """Whether a mask has two parts that are no specks."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] >= SPECK).sum()) > 1


def _box(mask: Mask) -> Box | None:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))


def _seen(segmenter: Segmenter, clip: str) -> Iterator[Features]:
    for path in sorted((CLIPS / clip / "images").iterdir()):
        plan = segmenter.plan(np.asarray(Image.open(path).convert("RGB")))
        yield segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))


def _truths(clip: str) -> Iterator[Mask]:
    for path in sorted((CLIPS / clip / "masks").iterdir()):
        yield np.asarray(Image.open(path)) > 0
