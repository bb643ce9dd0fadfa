"""Negative clicks that correct a mask: whether they do, on validation photographs.

An object is shown by a click where it is deepest or by its tight box. Up to three times a negative point is added at
the deepest pixel of the largest part of the mask that is wrong. *The head*: `Segmenter.prompt` alone; *answered*: what
the task `prompt` makes of it (`tasks.negative_points`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clock import print_table
from lexiseg_model.catalogue import load
from lexiseg_model.data.components import objects_of
from lexiseg_model.data.indexed import IGNORE, list_samples
from lexiseg_model.evaluation.scenes.oracle import deepest_point, tight_box
from lexiseg_model.features import Features
from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import decode, encode_spans
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.tasks.negative_points import prompt_masks
from lexiseg_model.types import Point, Prompt

DATA = Path("../shared/data")
UNNAMED = {"voc": {0}, "regions": set[int](), "coco": set[int](), "street": set[int]()}  # background of each data set
OBJECTS = 4  # of a photograph
CLICKS = 3
SMALLEST_SHARE, SMALLEST_AREA = 5e-4, 25  # of the picture, and pixels: a smaller mistake is not clicked on
WORSE = 0.005  # of IoU, beside any loss at all

Mask = NDArray[np.bool_]
Way = Callable[[Features, Prompt], PromptMasks]


class Truth(NamedTuple):
    """An object [H, W] and the pixels that count."""

    inside: Mask
    counts: Mask

    def iou(self, mask: Mask) -> float:
        """Over the pixels that count."""
        union = (mask | self.inside) & self.counts
        return float((mask & self.inside & self.counts).sum() / max(1, union.sum()))


class Correction(NamedTuple):
    """One negative click: points inside of all so far, IoU before and after, whether the mask gained a pixel."""

    inside: float
    before: float
    after: float
    grew: bool


def run() -> None:
    """Prints the table of docs/tasks.md."""
    torch.set_num_threads(1)
    if not DATA.is_dir():
        print(f"No photographs at {DATA}: there is nothing to correct.")
        return
    segmenter = load("tiny", device="cpu")
    ways: dict[str, Way] = {
        "the head": lambda features, prompt: segmenter.prompt(features, [prompt])[0],
        "answered": lambda features, prompt: prompt_masks(segmenter, features, [prompt])[0],
    }
    corrections: dict[tuple[str, int, str], list[Correction | float]] = defaultdict(list)
    for features, truths in _photographs(segmenter):
        for truth in truths:
            for start, prompt in _starts(truth.inside).items():
                for name, way in ways.items():
                    for number, correction in enumerate(_corrected(way, features, prompt, truth), 1):
                        corrections[start, number, name].append(correction)
    rows = [[start, str(number), name, *_row(some)] for (start, number, name), some in sorted(corrections.items())]
    head = ["first", "negatives", "way", "clicks", "points inside, %", "mean IoU", "worse, %", "by 0.5, %", "grew, %"]
    print_table("Negative clicks", head, rows)


def _row(some: Sequence[Correction | float]) -> list[str]:
    """`some`: a click, or the IoU of an object that needs none any more."""
    clicks = [each for each in some if isinstance(each, Correction)]
    reached = np.mean([each.after if isinstance(each, Correction) else each for each in some])
    shares = (
        np.mean([click.inside for click in clicks]),
        reached,
        np.mean([click.after < click.before - 1e-9 for click in clicks]),
        np.mean([click.after < click.before - WORSE for click in clicks]),
        np.mean([click.grew for click in clicks]),
    )
    return [str(len(clicks)), *(f"{100 * share:.1f}" for share in shares)]


def _photographs(segmenter: Segmenter) -> Iterator[tuple[Features, list[Truth]]]:
    for name, unnamed in UNNAMED.items():
        random = np.random.default_rng(0)
        for sample in list_samples(DATA, name, "val"):
            labels = sample.read_mask()
            objects = objects_of(labels, set(np.unique(labels).tolist()) - unnamed - {IGNORE}, IGNORE)
            if not objects.labels:
                continue
            chosen = random.permutation(len(objects.labels))[:OBJECTS]
            plan = segmenter.plan(sample.read_image())
            features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
            yield features, [Truth(objects.ids == number + 1, ~objects.ignored) for number in chosen]


def _starts(inside: Mask) -> dict[str, Prompt]:
    return {"box": Prompt(box=tight_box(inside)), "click": Prompt((deepest_point(inside),))}


def _corrected(way: Way, features: Features, prompt: Prompt, truth: Truth) -> Iterator[Correction | float]:
    mask = _mask(way(features, prompt), features.size)
    for number in range(CLICKS):
        point = _largest_mistake(mask, truth)
        if point is None:
            if not number:
                return
            yield truth.iou(mask)
            continue
        prompt = Prompt((*prompt.points, point), prompt.box)
        after = _mask(way(features, prompt), features.size)
        inside = np.mean([after[int(each.y), int(each.x)] for each in prompt.points if not each.positive])
        yield Correction(float(inside), truth.iou(mask), truth.iou(after), bool((after & ~mask).any()))
        mask = after


def _mask(answer: PromptMasks, size: tuple[int, int]) -> Mask:
    return decode(encode_spans(cut(answer.masks[0].float().numpy(), size), size)).astype(bool)


def _largest_mistake(mask: Mask, truth: Truth) -> Point | None:
    wrong = mask & ~truth.inside & truth.counts
    n, parts, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    if n < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[largest, cv2.CC_STAT_AREA] < max(SMALLEST_AREA, SMALLEST_SHARE * mask.size):
        return None
    return replace(deepest_point(parts == largest), positive=False)
