"""Clicks that a labeller needs, with and without a head: `python -m benchmarks clicks ROOT [SET ...] [--taught 50]`.

The first pictures of a random order teach, the next ones are labelled by somebody who knows their masks: a class
whose IoU is below --iou gets clicks, each in the largest wrong part where that is deepest; one that the picture does
not show is deleted by one click. After --most clicks on a class, it is given up. Printed are the mean clicks of a
picture and the share of classes that are given up, by words and by what was taught.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.by_pictures.teach import SETS, Taught
from benchmarks.corrections import Mask, iou_of, largest_part
from benchmarks.timing import print_table
from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt, Rle, Vocabulary
from lexiseg_train.data.indexed import IGNORE, read_dataset
from lexiseg_train.evaluation.scenes.judges import deepest_point


class Labeller(NamedTuple):
    """Who clicks until a mask has that IoU, at most so many times."""

    segmenter: Segmenter
    iou: float
    most: int

    def clicks(self, features: Features, vocabulary: Vocabulary, truths: Sequence[Mask], counted: Mask) -> list[int]:
        """Clicks for each class of a picture, from its answer to the mask; `most` where that is not reached."""
        answer = tasks.segment("semantic", self.segmenter, features, vocabulary)
        by_class = {segment.class_index: segment.mask for segment in answer.segments}
        return [self._clicks(features, by_class.get(index), truth, counted) for index, truth in enumerate(truths)]

    def _clicks(self, features: Features, rle: Rle | None, truth: Mask, counted: Mask) -> int:
        if not truth.any():
            return int(rle is not None)
        for number in range(self.most):
            mask = np.zeros_like(truth) if rle is None else decode(rle)
            if iou_of(mask[counted], truth[counted]) >= self.iou:
                return number
            added, removed = (largest_part(part & counted) for part in (truth & ~mask, mask & ~truth))
            is_positive = added.sum() >= removed.sum()
            point = replace(deepest_point(added if is_positive else removed), positive=bool(is_positive))
            options = tasks.Options(prompts=(Prompt((point,), mask=rle),))
            rle = tasks.segment("prompt", self.segmenter, features, Vocabulary(()), options).segments[0].mask
        return self.most


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks clicks", description="Clicks of a labeller with and without a head.")
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--taught", type=int, default=50, help="pictures")
    parser.add_argument("--labelled", type=int, default=50, help="pictures after these")
    parser.add_argument("--iou", type=float, default=0.9)
    parser.add_argument("--most", type=int, default=10, help="clicks on a class")
    options = parser.parse_args(arguments)
    labeller = Labeller(catalogue.load(options.model, runtime="auto"), options.iou, options.most)
    rows = []
    for name in options.sets:
        data = read_dataset(options.root, name, "train")
        order = np.random.default_rng(0).permutation(len(data.samples)).tolist()
        taught = Taught(labeller.segmenter, data)
        vocabularies = taught.words, taught.taught(order[: options.taught])
        clicks: list[list[list[int]]] = [[], []]
        for index in order[options.taught :][: options.labelled]:
            features, _, truth = taught.picture(index)
            truths = [truth == value for value in taught.values]
            for own, vocabulary in zip(clicks, vocabularies, strict=True):
                own.append(labeller.clicks(features, vocabulary, truths, truth != IGNORE))
        means = [f"{np.sum(own, axis=1).mean():.1f}" for own in clicks]
        failures = [f"{100 * np.mean(np.array(own) == options.most):.0f} %" for own in clicks]
        rows.append([name, str(len(clicks[0])), *means, *failures])
    head = ["set", "pictures", "by words", "as taught", "given up", "given up, taught"]
    print_table(f"Clicks of a picture after {options.taught}, to an IoU of {options.iou}", head, rows)
