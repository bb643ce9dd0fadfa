"""Whether an object that leaves the picture is said to be lost, and found when it comes back.

A window of each clip shows the object, pans away to where it is not, stays, and pans back. The window is as wide as the
widest strip beside the object, which in these clips shows a part of it. Then the clip is cut: frames of another come
between, which show nothing of the object. Last the camera comes nearer, two and a half times in 14 frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clips.following import CLIPS, FOUND, NAMES, _box, _iou, _pixels, _truths
from benchmarks.clock import print_table
from lexiseg_model.catalogue import load
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Start

PARTS = (10, 8, 12, 8, 10)  # frames: on the object, away, gone, back, on the object
SEEN = 0.01  # share of the window from which the object is in it

CUT = 15, 12, 10  # frames of a clip, of another, of the clip again
NEARER = 2.5  # times as large in the end
EVERY = 3  # frame of the first forty, where the camera comes nearer

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scene = Iterable[tuple[Rgb, Mask]]  # frames [H, W, 3] and where the object is [H, W]


class Course(NamedTuple):
    """Of each frame: whether the object is in it, is said to be lost, the overlap and relative size of its mask."""

    seen: list[bool]
    lost: list[bool]
    overlaps: list[float]
    sizes: list[float]


def run() -> None:
    """Prints the tables of docs/video.md."""
    torch.set_num_threads(1)
    if not CLIPS.is_dir():
        print(f"No clips at {CLIPS}: nothing leaves.")
        return
    segmenter = load("tiny", device="cpu")
    clips = {name: [*zip(_frames(name), _truths(name), strict=True)] for name in NAMES}
    head = [
        "clip",
        "window",
        "lost while it is seen",
        "lost while it is gone",
        "said to be lost after",
        "found again after",
    ]
    rows = [[name, *_left_row(segmenter, clip)] for name, clip in clips.items()]
    print_table("An object that leaves the picture and comes back", head, rows)
    others = dict(zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True))
    cuts = {name: _course(segmenter, _cut(clip, clips[others[name]])) for name, clip in clips.items()}
    print_table(
        "A cut to another clip and back", ["clip", *head[2:]], [[name, *_said(each)] for name, each in cuts.items()]
    )
    near = {name: _course(segmenter, _nearer(clip)) for name, clip in clips.items()}
    rows = [
        [name, f"{100 * np.mean(each.overlaps):.1f}", str(sum(each.lost)), f"{each.sizes[-1]:.2f}"]
        for name, each in near.items()
    ]
    print_table("An object that comes nearer", ["clip", "J, %", "said to be lost", "size at the end"], rows)


def _left_row(segmenter: Segmenter, clip: list[tuple[Rgb, Mask]]) -> list[str]:
    some = clip[: sum(PARTS)]
    windows = [*_windows([truth for _, truth in some])]
    parts = (
        (rgb[:, left:right], truth[:, left:right]) for (rgb, truth), (left, right) in zip(some, windows, strict=True)
    )
    return [f"{windows[0][1] - windows[0][0]} x {some[0][1].shape[0]}", *_said(_course(segmenter, parts))]


def _course(segmenter: Segmenter, scene: Scene) -> Course:
    follower, course = Follower(), Course([], [], [], [])
    for rgb, truth in scene:
        plan = segmenter.plan(np.ascontiguousarray(rgb))
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        starts = [] if len(follower) else [Start(1, Prompt(box=_box(truth)))]
        (sight,) = follower.step(segmenter, features, starts)
        course.seen.append(bool(truth.mean() >= SEEN))
        course.lost.append(sight.mask is None)
        course.overlaps.append(_iou(sight.mask, truth))
        course.sizes.append(0.0 if sight.mask is None else _pixels(sight.mask, truth).sum() / max(1, truth.sum()))
    return course


def _said(course: Course) -> list[str]:
    """Frames said to be lost while the object is seen and gone, and how many frames after it goes and comes back."""
    seen, lost = np.array(course.seen), np.array(course.lost)
    begin, end = course.seen.index(False), len(seen) - course.seen[::-1].index(False)
    said = next((f"{place - begin} frames" for place in range(begin, end) if lost[place]), "never")
    found = next(
        (f"{place - end} frames" for place in range(end, len(seen)) if course.overlaps[place] >= FOUND), "never"
    )
    return [f"{(seen & lost).sum()} of {seen.sum()}", f"{(~seen & lost).sum()} of {(~seen).sum()}", said, found]


def _cut(clip: list[tuple[Rgb, Mask]], other: list[tuple[Rgb, Mask]]) -> Scene:
    before, between, after = CUT
    yield from clip[:before]
    yield from ((rgb, np.zeros_like(truth)) for rgb, truth in other[:between])
    yield from clip[before : before + after]


def _nearer(clip: list[tuple[Rgb, Mask]]) -> Scene:
    """Ever smaller windows around the object, enlarged to the size of the picture."""
    some = clip[:40:EVERY]
    for (rgb, truth), scale in zip(some, np.linspace(1, NEARER, len(some)), strict=True):
        height, width = truth.shape
        box = _box(truth)
        assert box is not None, "the object is in every frame"
        left = np.clip((box[0] + box[2]) / 2 - width / scale / 2, 0, width - width / scale)
        top = np.clip((box[1] + box[3]) / 2 - height / scale / 2, 0, height - height / scale)
        enlarge = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
        mask = cv2.warpAffine(truth.astype(np.uint8), enlarge, (width, height), flags=cv2.INTER_NEAREST)
        yield np.asarray(cv2.warpAffine(rgb, enlarge, (width, height)), np.uint8), mask > 0


def _frames(clip: str) -> Iterator[Rgb]:
    for path in sorted((CLIPS / clip / "images").iterdir()):
        yield np.asarray(Image.open(path).convert("RGB"))


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
