"""Smoothing and tracking on video, `python -m benchmarks video ROOT`: label flicker, IoU, track stability, CPU time.

Still scenes are photographs with simulated sensor noise and JPEG compression. Moving scenes are clips of DAVIS 2016, in
ROOT/clips: a label flickers if it differs from the label warped from the previous frame by optical flow.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

from benchmarks.clips.flicker import flicker, warp_labels
from benchmarks.timing import print_table
from lexiseg_model import tasks
from lexiseg_model.catalogue.models import load
from lexiseg_model.features import Features, Plan
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, LabelMap, Segmentation, Task, Vocabulary
from lexiseg_model.video.memory import VideoMemory
from lexiseg_model.vocabulary.bank import KnownRows

OBJECTS = {"cows": "cow", "car-roundabout": "car", "dance-twirl": "person", "libby": "dog"}
SCENERY = ("grass", "tree", "sky", "road", "building", "floor", "wall")
SMOOTHING = 0.8
STILL_FRAMES = 30
READ_NOISE = 2.0  # gray levels
SHOT_NOISE = 0.12  # variance per gray level; an indoor camera
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
class SceneResult:
    """Results over the frames of a scene: class maps [H, W] (class index + 1, 0 = none), segments, tracks, costs."""

    maps: list[LabelMap] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    track_ids: list[tuple[int | None, ...]] = field(default_factory=list)  # per frame and segment
    seconds: float = 0.0  # CPU time of the video memory
    resets: int = 0  # scene cuts


class VideoSegmenter:
    """Segments scenes; caches text rows."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._rows = KnownRows(segmenter)

    def encode(self, frames: list[Rgb]) -> list[EncodedFrame]:
        """Run the image pass on each frame."""
        encoded = []
        for rgb in frames:
            plan = self._segmenter.plan(rgb)
            features = self._segmenter.assemble(plan, self._segmenter.encode_tiles(plan.tiles))
            encoded.append(EncodedFrame(rgb, plan, features))
        return encoded

    def segment(
        self, frames: list[EncodedFrame], classes: tuple[str, ...], smoothing: float, task: Task = "semantic"
    ) -> SceneResult:
        """Segment the frames in order with one video memory."""
        vocabulary = Vocabulary(tuple(ClassEntry(name) for name in classes))
        memory = VideoMemory(smoothing, tracking=True)
        result = SceneResult()
        for frame in frames:
            start = time.process_time()
            result.resets += memory.look(frame.plan)
            result.seconds += time.process_time() - start

            def smooth(scores: torch.Tensor) -> torch.Tensor:
                start = time.process_time()
                average = memory.steady(scores)
                result.seconds += time.process_time() - start
                return average

            options = tasks.Options(steady=smooth)
            segmentation = tasks.segment(task, self._segmenter, frame.features, vocabulary, options, self._rows)
            start = time.process_time()
            result.track_ids.append(memory.follow(segmentation))
            result.seconds += time.process_time() - start
            class_of = np.array([0, *(1 + (segment.class_index or 0) for segment in segmentation.segments)], np.uint16)
            result.maps.append(class_of[segmentation.label_map])
            result.segmentations.append(segmentation)
        return result


def main(arguments: Sequence[str]) -> None:
    """Print the tables of docs/video.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks video", description=__doc__)
    parser.add_argument("root", type=Path, help=f"folder with clips/NAME of {', '.join(OBJECTS)}")
    folder = parser.parse_args(arguments).root / "clips"
    torch.set_num_threads(2)
    video = VideoSegmenter(load("tiny", device="cpu", runtime="auto"))
    clips = {name: (video.encode([*_frames(folder / name)]), [*_truths(folder / name)]) for name in OBJECTS}
    _still(video, {name: frames[0].rgb for name, (frames, _) in clips.items()})
    _moving(video, clips, "the object's class alone", {name: (word,) for name, word in OBJECTS.items()})
    _moving(video, clips, "all four classes", dict.fromkeys(OBJECTS, tuple(OBJECTS.values())))
    _moving(video, clips, "eleven classes", dict.fromkeys(OBJECTS, (*OBJECTS.values(), *SCENERY)))
    _by_class_list(video, clips)
    _tracks(video, clips)
    _costs(video, clips)


def _still(video: VideoSegmenter, firsts: dict[str, Rgb]) -> None:
    """Print the flicker of photographs and of the first frames of clips."""
    china, flower = load_sample_images().images
    scenes: dict[str, tuple[Rgb, tuple[str, ...]]] = {
        "china": (china, ("building", "tree", "sky", "water", "person")),
        "flower": (flower, ("flower", "leaf", "grass")),
        "chelsea": (data.chelsea(), ("cat", "dog", "wall", "floor")),
        "astronaut": (data.astronaut(), ("person", "flag", "wall", "clothes")),
        "coffee": (data.coffee(), ("cup", "table", "spoon")),
    }
    scenes |= {f"{name}, first frame": (rgb, (OBJECTS[name],)) for name, rgb in firsts.items()}
    rows = []
    for name, (rgb, classes) in scenes.items():
        frames = video.encode([_camera_frame(rgb, seed) for seed in range(STILL_FRAMES)])
        raw, smooth = (_flicker(video.segment(frames, classes, weight).maps) for weight in (0.0, SMOOTHING))
        rows.append(
            [name, ", ".join(classes), f"{raw:.2f}", f"{smooth:.2f}", f"{raw / smooth:.1f}x" if smooth else "-"]
        )
    head = ["scene", "classes", "flicker, %", f"smoothing {SMOOTHING}, %", "less"]
    print_table("Still scenes: pixels whose label changes from frame to frame", head, rows)


def _moving(
    video: VideoSegmenter,
    clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]],
    title: str,
    class_lists: dict[str, tuple[str, ...]],
) -> None:
    rows = []
    for name, (frames, truths) in clips.items():
        index = 1 + class_lists[name].index(OBJECTS[name])
        results = [video.segment(frames, class_lists[name], weight) for weight in (0.0, SMOOTHING)]
        flickers = [_flicker_in_motion(frames, result.maps) for result in results]
        ious = [_iou(result.maps, truths, index) for result in results]
        rows.append([name, OBJECTS[name], *(f"{value:.2f}" for value in flickers), f"{flickers[0] / flickers[1]:.1f}x"])
        rows[-1] += [f"{whole:.1f} / {mean:.1f}" for whole, mean in ious]
    head = ["clip", "object", "flicker, %", f"smoothing {SMOOTHING}, %", "less", "IoU, %", "smoothed IoU, %"]
    print_table(f"Clips, {title} (IoU over all pixels / mean over frames)", head, rows)


def _by_class_list(video: VideoSegmenter, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    """Print J of each clip's object for class lists of growing length, with and without smoothing."""
    rows = []
    for name, (frames, truths) in clips.items():
        for words in ((OBJECTS[name],), tuple(OBJECTS.values()), (*OBJECTS.values(), *SCENERY)):
            index = 1 + words.index(OBJECTS[name])
            results = [video.segment(frames, words, weight).maps for weight in (0.0, SMOOTHING)]
            means = [_iou(maps, truths, index)[1] for maps in results]
            hits = [_hit_rate(maps, truths, index) for maps in results]
            rows.append([name, str(len(words)), *(f"{mean:.1f}" for mean in means)])
            rows[-1] += [f"{100 * share:.0f} ({longest})" for share, longest in hits]
    head = ["clip", "classes", "J", "J, smoothed", "found, % (longest loss)", "found, smoothed"]
    print_table(f"Clips: J (mean IoU over frames) and frames in which it is at least {MIN_IOU}", head, rows)


def _hit_rate(maps: list[LabelMap], truths: list[NDArray[np.bool_]], index: int) -> tuple[float, int]:
    """The share of frames in which the class has IoU >= MIN_IOU, and the longest run of frames without."""
    misses = longest = hits = 0
    for labels, truth in zip(maps, truths, strict=True):
        mask = labels == index
        if (mask & truth).sum() >= MIN_IOU * max(1, (mask | truth).sum()):
            hits, misses = hits + 1, 0
        else:
            misses += 1
        longest = max(longest, misses)
    return hits / len(maps), longest


def _tracks(video: VideoSegmenter, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    rows = []
    for name, (frames, truths) in clips.items():
        result = video.segment(frames, (OBJECTS[name],), SMOOTHING, "instance")
        on_object = [
            track_id
            for segmentation, track_ids, truth in zip(result.segmentations, result.track_ids, truths, strict=True)
            if (track_id := _track_of(segmentation, track_ids, truth)) is not None
        ]
        changes = sum(before != after for before, after in pairwise(on_object))
        n_tracks = len({track_id for track_ids in result.track_ids for track_id in track_ids})
        found_in = f"{len(on_object)} of {len(frames)}"
        rows.append([name, found_in, str(len(set(on_object))), str(changes), str(n_tracks), str(result.resets)])
    head = ["clip", "frames with the object", "its track ids", "id changes", "track ids of all segments", "scene cuts"]
    print_table("Tracks of the object, task instance", head, rows)


def _costs(video: VideoSegmenter, clips: dict[str, tuple[list[EncodedFrame], list[NDArray[np.bool_]]]]) -> None:
    torch.set_num_threads(1)
    rows = []
    for n_classes in (1, 4, 20, 150):
        frames = clips["cows"][0][:40]
        classes = ("cow", *(f"thing number {index}" for index in range(n_classes - 1)))
        result = video.segment(frames, classes, SMOOTHING)
        rows.append([str(n_classes), f"{1e3 * result.seconds / len(frames):.1f}"])
    print_table("Smoothing and tracking, CPU time per frame of 512 x 288", ["classes", "ms"], rows)


def _camera_frame(rgb: Rgb, seed: int) -> Rgb:
    """Add sensor noise and JPEG compression to an image."""
    rng = np.random.default_rng(seed)
    noisy = rgb + rng.normal(0, np.sqrt(READ_NOISE**2 + SHOT_NOISE * rgb))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


def _frames(clip: Path) -> Iterator[Rgb]:
    for path in sorted((clip / "images").iterdir()):
        yield np.asarray(Image.open(path).convert("RGB"))


def _truths(clip: Path) -> Iterator[NDArray[np.bool_]]:
    for path in sorted((clip / "masks").iterdir()):
        yield np.asarray(Image.open(path)) > 0


def _flicker(maps: list[LabelMap]) -> float:
    return 100 * float(np.mean([flicker(before, now) for before, now in pairwise(maps)]))


def _flicker_in_motion(frames: list[EncodedFrame], maps: list[LabelMap]) -> float:
    shares = []
    for (before, labels), (now, labels_now) in pairwise(zip(frames, maps, strict=True)):
        warped, reliable = warp_labels(before.rgb, now.rgb, labels)
        shares.append(flicker(warped, labels_now, reliable))
    return 100 * float(np.mean(shares))


def _iou(maps: list[LabelMap], truths: list[NDArray[np.bool_]], index: int) -> tuple[float, float]:
    """IoU in percent over all pixels of the clip, and its mean over frames (J of DAVIS)."""
    intersection = np.array([((labels == index) & truth).sum() for labels, truth in zip(maps, truths, strict=True)])
    union = np.array([((labels == index) | truth).sum() for labels, truth in zip(maps, truths, strict=True)])
    return float(100 * intersection.sum() / union.sum()), float(100 * np.mean(intersection / np.maximum(1, union)))


def _track_of(segmentation: Segmentation, track_ids: tuple[int | None, ...], truth: NDArray[np.bool_]) -> int | None:
    """The track id of the segment with the best IoU on the object; None if it is below MIN_IOU."""
    best_iou, best_id = MIN_IOU, None
    for segment, track_id in zip(segmentation.segments, track_ids, strict=True):
        mask = segmentation.label_map == segment.id
        iou = float((mask & truth).sum() / max(1, (mask | truth).sum()))
        if iou > best_iou:
            best_iou, best_id = iou, track_id
    return best_id
