"""Smoothing and tracking on video: how much less labels flicker, at which IoU, and what it costs.

Still scenes are photographs, seen thirty times through a noisy sensor and a JPEG encoder. Moving ones are the clips of
`../shared/data` (DAVIS 2016) where they exist: there a label flickers when it differs from the one that the same point
of the scene had in the frame before, which optical flow at full size finds (not the flow that the smoothing uses).
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

from benchmarks.clips.stability import carried, flicker
from benchmarks.clock import print_table
from lexiseg_model import tasks
from lexiseg_model.catalogue import load
from lexiseg_model.features import Features, Plan
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, LabelMap, Segmentation, Task, Vocabulary
from lexiseg_model.video.memory import VideoMemory
from lexiseg_model.vocabulary.rows import KnownRows

CLIPS = Path("../shared/data/clips")
OBJECTS = {"cows": "cow", "car-roundabout": "car", "dance-twirl": "person", "libby": "dog"}
SCENERY = ("grass", "tree", "sky", "road", "building", "floor", "wall")
SMOOTHING = 0.8
STILL_FRAMES = 30
READ_NOISE = 2.0  # gray levels
SHOT_NOISE = 0.12  # variance per gray level; a camera in a room
JPEG_QUALITY = 80
MIN_IOU = 0.2  # of a segment that counts as the object

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class EncodedFrame:
    """A frame after its image pass."""

    rgb: Rgb
    plan: Plan
    features: Features


@dataclass
class Course:
    """What one way of asking said about the frames of a scene: class of each pixel (0 nobody), and the costs."""

    maps: list[LabelMap] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    numbers: list[tuple[int | None, ...]] = field(default_factory=list)
    seconds: float = 0.0  # of looking, steadying and following
    resets: int = 0


class Watcher:
    """Asks about scenes; text rows are kept."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._rows = KnownRows(segmenter)

    def see(self, frames: list[Rgb]) -> list[EncodedFrame]:
        """One image pass for each frame."""
        seen = []
        for rgb in frames:
            plan = self._segmenter.plan(rgb)
            seen.append(
                EncodedFrame(rgb, plan, self._segmenter.assemble(plan, self._segmenter.encode_tiles(plan.tiles)))
            )
        return seen

    def follow(
        self, frames: list[EncodedFrame], classes: tuple[str, ...], smoothing: float, task: Task = "semantic"
    ) -> Course:
        """The frames in order, with one memory."""
        vocabulary = Vocabulary(tuple(ClassEntry(name) for name in classes))
        memory = VideoMemory(smoothing, tracking=True)
        course = Course()
        for frame in frames:
            began = time.process_time()
            course.resets += memory.look(frame.plan)
            course.seconds += time.process_time() - began

            def steady(scores: torch.Tensor) -> torch.Tensor:
                began = time.process_time()
                average = memory.steady(scores)
                course.seconds += time.process_time() - began
                return average

            options = tasks.Options(steady=steady)
            segmentation = tasks.segment(task, self._segmenter, frame.features, vocabulary, options, self._rows)
            began = time.process_time()
            course.numbers.append(memory.follow(segmentation))
            course.seconds += time.process_time() - began
            of_class = np.array([0, *(1 + (segment.class_index or 0) for segment in segmentation.segments)], np.uint16)
            course.maps.append(of_class[segmentation.label_map])
            course.segmentations.append(segmentation)
        return course


def run() -> None:
    """Prints the tables of docs/video.md."""
    torch.set_num_threads(2)
    watcher = Watcher(load("tiny", device="cpu"))
    _still(watcher)
    if not CLIPS.is_dir():
        print(f"\nNo clips at {CLIPS}: the tables of moving scenes are left out.")
        return
    clips = {name: (watcher.see([*_frames(name)]), [*_truths(name)]) for name in OBJECTS}
    _moving(watcher, clips, "the object's class alone", {name: (word,) for name, word in OBJECTS.items()})
    _moving(watcher, clips, "all four classes", dict.fromkeys(OBJECTS, tuple(OBJECTS.values())))
    _moving(watcher, clips, "eleven classes", dict.fromkeys(OBJECTS, (*OBJECTS.values(), *SCENERY)))
    _lost_and_found(watcher, clips)
    _tracks(watcher, clips)
    _costs(watcher, clips)


def _still(watcher: Watcher) -> None:
    china, flower = load_sample_images().images
    scenes: dict[str, tuple[Rgb, tuple[str, ...]]] = {
        "china": (china, ("building", "tree", "sky", "water", "person")),
        "flower": (flower, ("flower", "leaf", "grass")),
        "chelsea": (data.chelsea(), ("cat", "dog", "wall", "floor")),
        "astronaut": (data.astronaut(), ("person", "flag", "wall", "clothes")),
        "coffee": (data.coffee(), ("cup", "table", "spoon")),
    }
    if CLIPS.is_dir():
        scenes |= {f"{name}, first frame": (next(_frames(name)), (word,)) for name, word in OBJECTS.items()}
    rows = []
    for name, (rgb, classes) in scenes.items():
        seen = watcher.see([_spoiled(rgb, seed) for seed in range(STILL_FRAMES)])
        raw, smooth = (_flicker(watcher.follow(seen, classes, weight).maps) for weight in (0.0, SMOOTHING))
        rows.append(
            [name, ", ".join(classes), f"{raw:.2f}", f"{smooth:.2f}", f"{raw / smooth:.1f}x" if smooth else "-"]
        )
    head = ["scene", "classes", "flicker, %", f"smoothing {SMOOTHING}, %", "less"]
    print_table("Still scenes: pixels whose label changes from frame to frame", head, rows)


def _moving(
    watcher: Watcher,
    clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]],
    title: str,
    class_lists: dict[str, tuple[str, ...]],
) -> None:
    rows = []
    for name, (seen, truths) in clips.items():
        index = 1 + class_lists[name].index(OBJECTS[name])
        courses = [watcher.follow(seen, class_lists[name], weight) for weight in (0.0, SMOOTHING)]
        flickers = [_flicker_in_motion(seen, course.maps) for course in courses]
        ious = [_iou(course.maps, truths, index) for course in courses]
        rows.append([name, OBJECTS[name], *(f"{value:.2f}" for value in flickers), f"{flickers[0] / flickers[1]:.1f}x"])
        rows[-1] += [f"{whole:.1f} / {mean:.1f}" for whole, mean in ious]
    head = ["clip", "object", "flicker, %", f"smoothing {SMOOTHING}, %", "less", "IoU, %", "smoothed IoU, %"]
    print_table(f"Clips, {title} (IoU over all pixels / mean over frames)", head, rows)


def _lost_and_found(watcher: Watcher, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    """By how long a class list the object of each clip is found, and what smoothing makes of it."""
    rows = []
    for name, (seen, truths) in clips.items():
        for words in ((OBJECTS[name],), tuple(OBJECTS.values()), (*OBJECTS.values(), *SCENERY)):
            index = 1 + words.index(OBJECTS[name])
            courses = [watcher.follow(seen, words, weight).maps for weight in (0.0, SMOOTHING)]
            means = [_iou(maps, truths, index)[1] for maps in courses]
            runs = [_found(maps, truths, index) for maps in courses]
            rows.append([name, str(len(words)), *(f"{mean:.1f}" for mean in means)])
            rows[-1] += [f"{100 * found:.0f} ({longest})" for found, longest in runs]
    head = ["clip", "classes asked", "J", "J, smoothed", "found, % (longest loss)", "found, smoothed"]
    print_table(f"Clips: J (mean IoU over frames) and frames in which it is at least {MIN_IOU}", head, rows)


def _found(maps: list[LabelMap], truths: list[NDArray[np.bool_]], index: int) -> tuple[float, int]:
    """Share of the frames in which the object has its label, and the most in a row in which it has not."""
    lost = longest = found = 0
    for labels, truth in zip(maps, truths, strict=True):
        ours = labels == index
        if (ours & truth).sum() >= MIN_IOU * max(1, (ours | truth).sum()):
            found, lost = found + 1, 0
        else:
            lost += 1
        longest = max(longest, lost)
    return found / len(maps), longest


def _tracks(watcher: Watcher, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    rows = []
    for name, (seen, truths) in clips.items():
        course = watcher.follow(seen, (OBJECTS[name],), SMOOTHING, "instance")
        on_object = [
            number
            for segmentation, numbers, truth in zip(course.segmentations, course.numbers, truths, strict=True)
            if (number := _number_of(segmentation, numbers, truth)) is not None
        ]
        changes = sum(before != now for before, now in pairwise(on_object))
        n_numbers = len({number for numbers in course.numbers for number in numbers})
        found_in = f"{len(on_object)} of {len(seen)}"
        rows.append([name, found_in, str(len(set(on_object))), str(changes), str(n_numbers), str(course.resets)])
    head = ["clip", "frames with the object found", "its numbers", "changes", "numbers of all segments", "scene cuts"]
    print_table("Tracks of the object, task instance", head, rows)


def _costs(watcher: Watcher, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    torch.set_num_threads(1)
    rows = []
    for n_classes in (1, 4, 20, 150):
        seen = clips["cows"][0][:40]
        classes = ("cow", *(f"thing number {index}" for index in range(n_classes - 1)))
        course = watcher.follow(seen, classes, SMOOTHING)
        rows.append([str(n_classes), f"{1e3 * course.seconds / len(seen):.1f}"])
    print_table("Smoothing and tracking, CPU time of a frame of 512 x 288", ["classes", "ms"], rows)


def _spoiled(rgb: Rgb, seed: int) -> Rgb:
    """The scene once more, through a sensor and an encoder."""
    chance = np.random.default_rng(seed)
    noisy = rgb + chance.normal(0, np.sqrt(READ_NOISE**2 + SHOT_NOISE * rgb))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


def _frames(clip: str) -> Iterator[Rgb]:
    for path in sorted((CLIPS / clip / "images").iterdir()):
        yield np.asarray(Image.open(path).convert("RGB"))


def _truths(clip: str) -> Iterator[NDArray[np.bool_]]:
    for path in sorted((CLIPS / clip / "masks").iterdir()):
        yield np.asarray(Image.open(path)) > 0


def _flicker(maps: list[LabelMap]) -> float:
    return 100 * float(np.mean([flicker(before, now) for before, now in pairwise(maps)]))


def _flicker_in_motion(seen: list[EncodedFrame], maps: list[LabelMap]) -> float:
    shares = []
    for (before, labels), (now, labels_now) in pairwise(zip(seen, maps, strict=True)):
        moved, certain = carried(before.rgb, now.rgb, labels)
        shares.append(flicker(moved, labels_now, certain))
    return 100 * float(np.mean(shares))


def _iou(maps: list[LabelMap], truths: list[NDArray[np.bool_]], index: int) -> tuple[float, float]:
    """Percent: over all pixels of the clip, and the mean over its frames (J of DAVIS)."""
    both = np.array([((labels == index) & truth).sum() for labels, truth in zip(maps, truths, strict=True)])
    either = np.array([((labels == index) | truth).sum() for labels, truth in zip(maps, truths, strict=True)])
    return float(100 * both.sum() / either.sum()), float(100 * np.mean(both / np.maximum(1, either)))


def _number_of(segmentation: Segmentation, numbers: tuple[int | None, ...], truth: NDArray[np.bool_]) -> int | None:
    """The number of the segment that covers the object best; None if none does."""
    best, number = MIN_IOU, None
    for segment, of_segment in zip(segmentation.segments, numbers, strict=True):
        mask = segmentation.label_map == segment.id
        iou = float((mask & truth).sum() / max(1, (mask | truth).sum()))
        if iou > best:
            best, number = iou, of_segment
    return number
