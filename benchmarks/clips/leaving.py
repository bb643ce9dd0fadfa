"""Whether an object that leaves the picture is said to be lost, and found when it comes back.

A window of each clip shows the object, pans away to where it is not, stays, and pans back. The window is as wide as the
widest strip beside the object, which in these clips shows a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clips.following import CLIPS, FOUND, NAMES, _box, _iou, _truths
from benchmarks.clock import print_table
from lexiseg_model.catalog import load
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Start

PARTS = (10, 8, 12, 8, 10)  # frames: on the object, away, gone, back, on the object
SEEN = 0.01  # share of the window from which the object is in it

Mask = NDArray[np.bool_]


def run() -> None:
    """Prints the table of docs/video.md."""
    torch.set_num_threads(1)
    if not CLIPS.is_dir():
        print(f"No clips at {CLIPS}: nothing leaves.")
        return
    segmenter = load("tiny", device="cpu")
    rows = [[name, *_row(segmenter, name)] for name in NAMES]
    print_table(
        "An object that leaves the picture and comes back",
        ["clip", "window", "lost while it is seen", "gone for", "said to be lost after", "found again after"],
        rows,
    )


def _row(segmenter: Segmenter, name: str) -> list[str]:
    truths = [*_truths(name)][: sum(PARTS)]
    windows = [*_windows(truths)]
    follower = Follower()
    seen, lost, on_it = [], [], []
    paths = sorted((CLIPS / name / "images").iterdir())
    for place, (path, truth, (left, right)) in enumerate(zip(paths, truths, windows, strict=False)):
        rgb = np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))[:, left:right])
        inside = truth[:, left:right]
        plan = segmenter.plan(rgb)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        starts = [] if place else [Start(1, Prompt(box=_box(inside)))]
        (sight,) = follower.step(segmenter, features, starts)
        seen.append(inside.mean() >= SEEN)
        lost.append(sight.mask is None)
        on_it.append(_iou(sight.mask, inside) >= FOUND)
    begin, end = seen.index(False), len(seen) - seen[::-1].index(False)
    said = next((f"{place - begin} frames" for place in range(begin, end) if lost[place]), "never")
    found = next((f"{place - end} frames" for place in range(end, len(seen)) if on_it[place]), "never")
    wrong = sum(one and other for one, other in zip(seen, lost, strict=True))
    size = f"{windows[0][1] - windows[0][0]} x {truths[0].shape[0]}"
    return [name, size, f"{wrong} of {sum(seen)} frames", f"{end - begin} frames", said, found][1:]


def _windows(truths: list[Mask]) -> Iterator[tuple[int, int]]:
    """(left, right) of each frame's window."""
    on, away, gone, back, _ = PARTS
    columns = np.nonzero(np.any(truths[on + away : on + away + gone], axis=(0, 1)))[0]
    width = truths[0].shape[1]
    before, behind = int(columns.min()), int(width - 1 - columns.max())
    side = max(before, behind)
    far = 0 if before >= behind else width - side
    share = np.interp(
        np.arange(len(truths)), np.cumsum([0, on - 1, away, gone, back])[1:], [0.0, 1.0, 1.0, 0.0]
    )  # of the way to the far side
    middle = 0.0
    for truth, part in zip(truths, share, strict=True):
        box = _box(truth)
        middle = middle if box is None else (box[0] + box[2]) / 2
        near = min(max(0.0, middle - side / 2), width - side)
        left = round((1 - part) * near + part * far)
        yield left, left + side
