"""Accuracy and CPU time of following an object: `python -m benchmarks following ROOT`.

Clips are DAVIS 2016's, in ROOT/clips; it is shown by the tight box of the first frame's true mask. J is the mean
IoU of mask and truth over all frames, including the first, as in DAVIS. Backwards, what goes away comes nearer. Takes
three minutes of an idle core.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import print_table
from lexiseg_model.abilities import PromptMasks, prompts_of
from lexiseg_model.catalogue.models import load
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode, encode_spans
from lexiseg_model.masks.upsample import cut
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Start

NAMES = ("cows", "car-roundabout", "dance-twirl", "libby")
END = 5  # last frames, in which the size of masks and objects is compared
MIN_PART = 20  # pixels of a part that counts
MIN_IOU = 0.2  # of a mask that is on its object

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
# From a frame's features and true mask to the predicted mask; None: the object is reported lost.
Predict = Callable[[Features, Mask], PromptMasks | None]


def main(arguments: Sequence[str]) -> None:
    """Print the tables of docs/video.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks following", description=__doc__)
    parser.add_argument("root", type=Path, help=f"folder with clips/NAME of {', '.join(NAMES)}")
    clips = parser.parse_args(arguments).root / "clips"
    torch.set_num_threads(1)
    segmenter = load("tiny", device="cpu", runtime="auto")
    methods: dict[str, Callable[[Box], Predict]] = {
        "the first mask, copied": lambda box: _first_mask(segmenter, box),
        "the box stays": lambda box: lambda features, _: _prompt(segmenter, features, box),
        "followed": lambda box: _followed(segmenter, box),
        "each frame's true box": lambda box: lambda features, truth: _prompt(segmenter, features, _box(truth) or box),
    }
    rows, follow_rows = [], []
    for clip, step in itertools.product(NAMES, (1, -1)):
        name = clip if step > 0 else f"{clip}, backwards"
        truths = [*_truths(clips / clip)][::step]
        box = _box(truths[0])
        assert box is not None, f"{name}: no object in the first frame"
        predictors = {method: start(box) for method, start in methods.items()}
        ious: dict[str, list[float]] = {method: [] for method in methods}
        n_lost, n_parted, relative_sizes, seconds, pass_seconds = 0, 0, list[float](), 0.0, 0.0
        for image, truth in zip(_images(clips / clip, step), truths, strict=True):
            start_time = time.process_time()
            features = segmenter.encode(image)
            pass_seconds += time.process_time() - start_time
            prompts_of(segmenter).prompt(features, [Prompt(box=box)])  # caches what all prompts on a frame share
            for method, predict in predictors.items():
                start_time = time.process_time()
                masks = predict(features, truth)
                if method == "followed":
                    seconds += time.process_time() - start_time
                    mask = None if masks is None else _pixels(masks, truth)
                    n_lost += mask is None
                    n_parted += mask is not None and _has_several_parts(mask)
                    relative_sizes.append(0.0 if mask is None else mask.sum() / max(1, truth.sum()))
                ious[method].append(_iou(masks, truth))
        rows.append([name, *(f"{100 * float(np.mean(values)):.1f}" for values in ious.values())])
        on_object = [iou >= MIN_IOU for iou in ious["followed"]]
        size = f"{np.mean(relative_sizes[-END:]):.2f}"
        costs = [f"{1e3 * each / len(truths):.0f}" for each in (seconds, pass_seconds)]
        follow_rows.append([name, f"{sum(on_object)} of {len(on_object)}", str(n_lost), str(n_parted), size, *costs])
    means = [f"{np.mean([float(value) for value in column]):.1f}" for column in list(zip(*rows, strict=True))[1:]]
    print_table("An object from the first frame's box: J, %", ["clip", *methods], [*rows, ["mean", *means]])
    head = ["clip", f"frames with J >= {MIN_IOU}", "reported lost", "in parts", f"size in the last {END}"]
    print_table("Followed", [*head, "CPU ms per frame", "image pass"], follow_rows)


def _first_mask(segmenter: Segmenter, box: Box) -> Predict:
    first: list[PromptMasks] = []

    def predict(features: Features, truth: Mask) -> PromptMasks:
        if not first:
            first.append(_prompt(segmenter, features, box))
        return first[0]

    return predict


def _followed(segmenter: Segmenter, box: Box) -> Predict:
    follower = Follower()

    def predict(features: Features, truth: Mask) -> PromptMasks | None:
        starts = [] if len(follower) else [Start(1, Prompt(box=box))]
        (sight,) = follower.step(segmenter, features, starts)
        return sight.mask

    return predict


def _prompt(segmenter: Segmenter, features: Features, box: Box) -> PromptMasks:
    (masks,) = prompts_of(segmenter).prompt(features, [Prompt(box=box)])
    return masks


def _iou(masks: PromptMasks | None, truth: Mask) -> float:
    if masks is None:
        return float(not truth.any())
    mask = _pixels(masks, truth)
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _pixels(masks: PromptMasks, truth: Mask) -> Mask:
    size = (truth.shape[0], truth.shape[1])
    return decode(encode_spans(cut(masks.masks[0].float().numpy(), size), size)).astype(bool)


def _has_several_parts(mask: Mask) -> bool:
    """Whether a mask has at least two parts of MIN_PART pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] >= MIN_PART).sum()) > 1


def _box(mask: Mask) -> Box | None:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))


def _images(clip: Path, step: int) -> Iterator[NDArray[np.uint8]]:
    for path in sorted((clip / "images").iterdir())[::step]:
        yield np.asarray(Image.open(path).convert("RGB"))


def _truths(clip: Path) -> Iterator[Mask]:
    for path in sorted((clip / "masks").iterdir()):
        yield np.asarray(Image.open(path)) > 0
