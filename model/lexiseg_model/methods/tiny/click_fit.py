"""By what a lone click's masks are put in order: three numbers of the card, fitted on training photographs.

    python -m lexiseg_model.methods.tiny.click_fit ../shared/data voc coco street camvid fashion

asks the bundled model for the deepest point of objects of some photographs, looks which of its four masks fits best,
and prints `clicks` as the card's settings hold it, beside the IoU of the first mask before and after.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.data.components import objects_of
from lexiseg_model.data.indexed import BACKGROUND, IGNORE, IndexedDataset, Sample, read_dataset
from lexiseg_model.evaluation.scenes.oracle import deepest_point, overlaps
from lexiseg_model.methods.tiny.click_order import contrast, evidence
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ClickOrder, TinySettings
from lexiseg_model.types import Prompt

PHOTOGRAPHS = 120  # of each data set, evenly chosen
OBJECTS = 10  # of each photograph
TRIED = {
    "stability": (0.0, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5),
    "area": (0.0, -0.05, -0.09, -0.12, -0.16, -0.2),
    "edges": (0.0, 0.1, 0.2, 0.3, 0.4, 0.55, 0.7),
}
MOST_LOST = 0.003  # of IoU, by any data set
NOTHING = ClickOrder(stability=0, area=0, edges=0)


class Clicks(NamedTuple):
    """Of N clicks of one data set: quality, evidence and true IoU of each mask, [N, M], [N, M, 3] and [N, M]."""

    quality: Tensor
    evidence: Tensor
    reached: Tensor

    def first(self, rule: ClickOrder) -> float:
        """Mean IoU of the masks that come first."""
        chosen = (self.quality + self.evidence @ _weights(rule)).argmax(1, keepdim=True)
        return self.reached.gather(1, chosen).mean().item()


def fit(sets: list[Clicks], start: ClickOrder = NOTHING) -> ClickOrder:
    """The numbers of those tried whose first masks are best, every data set alike, and with which none loses.

    Args:
        sets: what clicks found, for each data set.
        start: the numbers against which a data set must not lose more than `MOST_LOST`.
    """
    before = [clicks.first(start) for clicks in sets]
    best, reached = start, sum(before)
    for numbers in product(*TRIED.values()):
        rule = ClickOrder(**dict(zip(TRIED, numbers, strict=True)))
        now = [clicks.first(rule) for clicks in sets]
        if sum(now) > reached and all(one >= was - MOST_LOST for one, was in zip(now, before, strict=True)):
            best, reached = rule, sum(now)
    return best


@torch.inference_mode()
def gather(segmenter: TinySegmenter, data: IndexedDataset, seed: int = 0) -> Clicks:
    """Asks for objects of some photographs of a split, each where it is deepest."""
    random = np.random.default_rng(seed)
    n = min(PHOTOGRAPHS, len(data.samples))
    places = np.linspace(0, len(data.samples) - 1, n).round().astype(int)
    parts = [part for place in places if (part := _of_photograph(segmenter, data, data.samples[place], random))]
    return Clicks(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _of_photograph(
    segmenter: TinySegmenter, data: IndexedDataset, sample: Sample, random: np.random.Generator
) -> Clicks | None:
    of = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
    objects = objects_of(sample.read_mask(), of, IGNORE)
    if not objects.labels:
        return None
    some = random.permutation(len(objects.labels))[:OBJECTS]
    plan = segmenter.plan(sample.read_image())
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    prompts = [Prompt((deepest_point(objects.ids == index + 1),)) for index in some]
    answers, served = segmenter.seen(features, prompts), segmenter.prompt(features, prompts)
    masks, given = (torch.stack([answer.masks for answer in each]) for each in (answers, served))
    ious = torch.from_numpy(overlaps(given.flatten(0, 1), objects)).float().view(*masks.shape[:2], -1)
    seen = evidence(masks, contrast(segmenter.guide(features), (masks.shape[2], masks.shape[3])))
    quality = torch.stack([answer.quality for answer in answers])
    return Clicks(quality, seen, ious[torch.arange(len(some)), :, torch.from_numpy(some)])


def _weights(rule: ClickOrder) -> Tensor:
    return torch.tensor([rule.stability, rule.area, rule.edges])


def main(root: Path, names: list[str]) -> None:
    """Fits on the training splits and prints what came of it."""
    segmenter = catalogue.load("tiny")
    assert isinstance(segmenter, TinySegmenter)
    sets = {name: gather(segmenter, read_dataset(root, name, "train")) for name in names}
    card = TinySettings.model_validate(segmenter.card.settings).clicks
    rule = fit(list(sets.values()), card)
    print(f"clicks: {rule.model_dump()}")
    for name, clicks in sets.items():
        alone, before, now = (f"{100 * clicks.first(each):.1f}" for each in (NOTHING, card, rule))
        best = 100 * clicks.reached.amax(1).mean().item()
        print(f"{name}: first mask {alone} by quality, {before} by the card, {now} so; best {best:.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
