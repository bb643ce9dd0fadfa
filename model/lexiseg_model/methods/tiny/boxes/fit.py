"""The numbers of the card by which the mask of a box is made of what the head sees, fitted on training photographs.

    python -m lexiseg_model.methods.tiny.boxes.fit ../shared/data voc coco street camvid fashion regions

asks the bundled model for the boxes of objects of some photographs, tight ones and ones that are off, tries other
numbers one after the other as long as the mean IoU grows, every data set alike, and prints `boxes` and `colours` as the
card's settings hold them, beside the IoU of what the head answers, of the card's numbers and of these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.data.read_scenes import read_object_scenes
from lexiseg_model.data.scenes import Objects, Scene
from lexiseg_model.evaluation.scenes.oracle import overlaps, tight_box
from lexiseg_model.methods.tiny.boxes.rule import kept_inside
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.own_colours import Palette, by_own_colours, palette
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule, OwnColours, TinySettings
from lexiseg_model.types import Prompt

PHOTOGRAPHS = {"voc": 60}  # of each data set, evenly chosen; most have one object or two there
OTHERWISE = 20
OBJECTS = 4  # of each photograph
OFF = (0.0, -0.06, 0.06)  # of a side, that each side of a box lies too far out: tight, too small, too large
WORTH = (0.5, 0.25, 0.25)  # of each of them
TRIED: dict[str, tuple[float, ...]] = {
    "weight": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    "doubt": (0.0, 1.0, 2.0, 3.0, 4.0),
    "small": (0.0, 8.0, 16.0, 24.0, 36.0),
    "bound": (2.0, 3.0, 4.0, 6.0),
    "ring": (0.15, 0.25, 0.5),
    "more": (0.0, 0.5, 1.0),
    "slack": (0.0, 0.01, 0.02, 0.04),
}
LEAST = 2e-4  # of mean IoU, by which another number must be better


class Numbers(NamedTuple):
    """Both settings."""

    boxes: BoxRule
    colours: OwnColours

    def replaced(self, name: str, value: float) -> Numbers:
        """With another value of one of them."""
        if name in BoxRule.model_fields:
            return self._replace(boxes=self.boxes.model_copy(update={name: value}))
        return self._replace(colours=self.colours.model_copy(update={name: value}))


class Boxes(NamedTuple):
    """Of N objects: boxes [N, 4] in pixels of the network's input, the head's logits [N, h, w] and quality [N]."""

    boxes: Tensor
    masks: Tensor
    quality: Tensor


class Photograph(NamedTuple):
    """Some objects of a photograph, asked for by boxes that are off by each of OFF."""

    objects: Objects
    some: list[int]
    palette: Palette
    asked: list[Boxes]

    def reached(self, numbers: Numbers | None) -> Tensor:
        """IoU [OFF, N]; None: of what the head answers."""
        masks = torch.cat([boxes.masks if numbers is None else self._made(boxes, numbers) for boxes in self.asked])
        ious = torch.from_numpy(overlaps(masks, self.objects)).view(len(self.asked), len(self.some), -1)
        return ious[:, torch.arange(len(self.some)), self.some]

    def _made(self, asked: Boxes, numbers: Numbers) -> Tensor:
        given = torch.ones(len(asked.boxes), dtype=torch.bool)
        masks = by_own_colours(asked.masks, asked.boxes, given, self.palette, numbers.colours)
        rows = zip(masks[:, None], asked.quality[:, None], asked.boxes, strict=True)
        return torch.cat([kept_inside(mask, quality, box, numbers.boxes) for mask, quality, box in rows])


Sets = dict[str, list[Photograph]]


def fit(sets: Sets, start: Numbers) -> Numbers:
    """Numbers, each of those tried, than which no other value of one of them is better."""
    best, reached = start, worth(sets, start)
    improved = True
    while improved:
        improved = False
        for name, values in TRIED.items():
            for value in _beside(values, best, name):
                other = best.replaced(name, value)
                of_other = worth(sets, other)
                if of_other > reached + LEAST:
                    best, reached, improved = other, of_other, True
    return best


def worth(sets: Sets, numbers: Numbers | None) -> float:
    """Mean IoU, every data set alike, of boxes that are tight and of those that are off."""
    return float(np.mean([np.dot(WORTH, row) for row in table(sets, numbers).values()]))


def table(sets: Sets, numbers: Numbers | None) -> dict[str, list[float]]:
    """Mean IoU of each data set for each of OFF."""
    return {
        name: torch.cat([each.reached(numbers) for each in photographs], 1).mean(1).tolist()
        for name, photographs in sets.items()
    }


def _beside(values: Sequence[float], numbers: Numbers, name: str) -> list[float]:
    """The next lower and the next higher value."""
    now: float = getattr(numbers.boxes if name in BoxRule.model_fields else numbers.colours, name)
    return [
        *sorted(value for value in values if value < now)[-1:],
        *sorted(value for value in values if value > now)[:1],
    ]


@torch.inference_mode()
def gather(segmenter: TinySegmenter, scenes: Sequence[Scene[Objects]], n: int, seed: int = 0) -> list[Photograph]:
    """Asks for objects of `n` of the photographs."""
    random = np.random.default_rng(seed)
    places = np.linspace(0, len(scenes) - 1, min(n, len(scenes))).round().astype(int)
    return [each for place in places for each in _of_photograph(segmenter, scenes[place], random)]


def _of_photograph(
    segmenter: TinySegmenter, scene: Scene[Objects], random: np.random.Generator
) -> Iterator[Photograph]:
    objects = scene.read_truth()
    if not objects.labels:
        return
    some = random.permutation(len(objects.labels))[:OBJECTS].tolist()
    plan = segmenter.plan(scene.read_image())
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    tight = [tight_box(objects.ids == index + 1) for index in some]
    asked = []
    for off in OFF:
        boxes = [_moved(box, off, plan.size) for box in tight]
        answers = segmenter.prompt(features, [Prompt(box=box, rough=True) for box in boxes])
        masks = torch.cat([answer.masks for answer in answers])
        height, width = (side * STRIDE for side in masks.shape[1:])
        scale = torch.tensor([width / plan.size[1], height / plan.size[0]] * 2)
        asked.append(Boxes(torch.tensor(boxes) * scale, masks, torch.cat([answer.quality for answer in answers])))
    yield Photograph(objects, some, palette(segmenter.guide(features), (masks.shape[1], masks.shape[2])), asked)


def _moved(box: tuple[float, ...], off: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    across, down = off * (x1 - x0), off * (y1 - y0)
    height, width = size
    return max(x0 - across, 0.0), max(y0 - down, 0.0), min(x1 + across, width), min(y1 + down, height)


def main(root: Path, names: list[str]) -> None:
    """Fits on the training splits and prints what came of it."""
    segmenter = catalogue.load("tiny")
    assert isinstance(segmenter, TinySegmenter)
    sets = {}
    for name in names:
        scenes = read_object_scenes(name, root, "train", lambda _: True).scenes
        sets[name] = gather(segmenter, scenes, PHOTOGRAPHS.get(name, OTHERWISE))
    settings = TinySettings.model_validate(segmenter.card.settings)
    card = Numbers(settings.boxes, settings.colours)
    fitted = fit(sets, card)
    print(f"boxes: {fitted.boxes.model_dump()}\ncolours: {fitted.colours.model_dump()}")
    of_each = [table(sets, numbers) for numbers in (None, card, fitted)]
    for name in names:
        parts = [" / ".join(f"{100 * iou:.1f}" for iou in rows[name]) for rows in of_each]
        print(f"{name}: tight, too small, too large {parts[0]} by the head, {parts[1]} by the card, {parts[2]} so")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
