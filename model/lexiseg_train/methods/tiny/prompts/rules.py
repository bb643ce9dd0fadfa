"""Fit the settings that turn the head's masks into answers to boxes, on training photographs.

    python -m lexiseg_train.methods.tiny.prompts.rules DATA voc coco street camvid fashion regions

asks the bundled model for objects by a click and by boxes (tight, too small, too large), tries neighbouring values of
one number after the other as long as the mean IoU grows, each data set alike, and prints the settings for the card.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.types import Prompt
from lexiseg_train.data.read_scenes import read_object_scenes
from lexiseg_train.data.scenes import Objects, Scene
from lexiseg_train.evaluation.scenes.judges import deepest_point, overlaps

PHOTOGRAPHS = 40  # of each data set, at most, evenly chosen
OBJECTS = 4  # of each photograph
OFFSETS = (0.0, -0.06, 0.06)  # of a side, by which each side of a box lies too far out
GRID = {"low_quality": (0.0, 1.0, 2.0, 3.0), "small": (0.0, 12.0, 24.0, 36.0), "slack": (0.0, 0.01, 0.02, 0.04)}
MIN_GAIN = 5e-4  # of mean IoU, for a number to change
MAX_LOSS = 0.003  # of IoU, that a data set may lose against the start


class Photograph(NamedTuple):
    """The features of a photograph, its objects, and the prompts for some of them, in turn a click and boxes."""

    features: Features
    objects: Objects
    prompted: Sequence[int]  # the object of each prompt
    prompts: Sequence[Prompt]


def gather(segmenter: TinySegmenter, scenes: Sequence[Scene[Objects]], seed: int = 0) -> list[Photograph]:
    random = np.random.default_rng(seed)
    photographs = []
    for place in np.linspace(0, len(scenes) - 1, min(PHOTOGRAPHS, len(scenes))).round().astype(int):
        objects = scenes[place].read_truth()
        if objects.labels:
            features = segmenter.encode(scenes[place].read_image())
            some = random.permutation(len(objects.labels))[:OBJECTS].tolist()
            prompts = [prompt for index in some for prompt in _prompts(objects.ids == index + 1)]
            photographs.append(Photograph(features, objects, np.repeat(some, 1 + len(OFFSETS)).tolist(), prompts))
    return photographs


def measure(segmenter: TinySegmenter, sets: Mapping[str, Sequence[Photograph]], boxes: BoxRule) -> list[float]:
    """Mean IoU of each data set in 0..1: half of it by clicks, half by boxes."""
    segmenter.settings = segmenter.settings.model_copy(update={"boxes": boxes})
    return [float(np.mean([_reached(segmenter, photograph) for photograph in some])) for some in sets.values()]


def fit(segmenter: TinySegmenter, sets: Mapping[str, Sequence[Photograph]]) -> BoxRule:
    """Return the rule of which no neighbouring value of a single number is better."""
    best = segmenter.settings.boxes
    start = reached = measure(segmenter, sets, best)
    improved = True
    while improved:
        improved = False
        for name, values in GRID.items():
            before = getattr(best, name)
            neighbours = [*[value for value in values if value < before][-1:], *[v for v in values if v > before][:1]]
            for value in neighbours:
                other = best.model_copy(update={name: value})
                now = measure(segmenter, sets, other)
                harmless = all(new >= old - MAX_LOSS for new, old in zip(now, start, strict=True))
                if harmless and np.mean(now) > np.mean(reached) + MIN_GAIN:
                    best, reached, improved = other, now, True
    return best


def _prompts(mask: Any) -> list[Prompt]:
    x0, y0, x1, y1 = tight_box(mask)
    across, down = x1 - x0, y1 - y0
    offs = [(off * across, off * down) for off in OFFSETS]
    return [Prompt((deepest_point(mask),)), *(Prompt(box=(x0 - x, y0 - y, x1 + x, y1 + y)) for x, y in offs)]


def _reached(segmenter: TinySegmenter, photograph: Photograph) -> float:
    features, objects, prompted, prompts = photograph
    firsts = torch.stack([answer.masks[0] for answer in segmenter.prompt(features, prompts)])
    ious = overlaps(firsts, objects)[np.arange(len(prompted)), prompted].reshape(-1, 1 + len(OFFSETS))
    return float(ious[:, 0].mean() + ious[:, 1:].mean()) / 2


def main(root: Path, names: Sequence[str]) -> None:
    segmenter = catalogue.load("tiny")
    assert isinstance(segmenter, TinySegmenter)
    scenes = {name: read_object_scenes(name, root, "train").scenes for name in names}
    sets = {name: gather(segmenter, each) for name, each in scenes.items()}
    before = measure(segmenter, sets, segmenter.settings.boxes)
    fitted = fit(segmenter, sets)
    for name, old, new in zip(names, before, measure(segmenter, sets, fitted), strict=True):
        print(f"{name}: mean IoU {100 * old:.1f} -> {100 * new:.1f}")
    print(fitted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
