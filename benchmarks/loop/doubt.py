"""Pictures chosen by doubt against pictures at random, to correct and tune on: `python -m benchmarks doubt ROOT`.

The start model answers a pool of photographs of one set. 20 are chosen as the page's *Review first what is doubtful*
orders them, by the lowest score of a picture's segments, or at random; their true masks stand for the corrections. The
start is tuned on each 20 (`lexiseg train finetune`, all the way), and measured on photographs of neither.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmarks.timing import print_table
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.weights import FILE
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import CLASSES, IndexedDataset, Sample, read_dataset
from lexiseg_train.evaluation.before_after import BeforeAfter, counts_of
from lexiseg_train.evaluation.counts import scores
from lexiseg_train.methods.tiny.own.finetune import PROJECTIONS
from lexiseg_train.methods.tiny.own.publish import Trial
from lexiseg_train.training.recipes.read import read_recipe

SPLIT = 0  # seed of what is held out
SURE = 1.0  # of a picture without segments, as in the page
Encode = Callable[[NDArray[np.uint8]], Features]


def once(segmenter: Segmenter) -> Encode:
    """The features of each picture, computed once: tuning changes none of them."""
    kept: dict[bytes, Features] = {}
    encode = segmenter.encode

    def features_of(rgb: NDArray[np.uint8]) -> Features:
        key = rgb.tobytes()
        if key not in kept:
            kept[key] = encode(rgb)
        return kept[key]

    return features_of


def sureness(segmenter: Segmenter, data: IndexedDataset) -> Callable[[int], float]:
    """A function that gives the lowest score of the segments of a picture, by its number."""
    names = [name for name in data.classes if name != BACKGROUND]
    vocabulary = Vocabulary(tuple(map(ClassEntry, names)), Background(), data.name)
    rows_of = KnownRows(segmenter)

    @cache
    def of(number: int) -> float:
        features = segmenter.encode(data.samples[number].read_image())
        answer = segment("semantic", segmenter, features, vocabulary, rows_of=rows_of)
        return min((each.score for each in answer.segments), default=SURE)

    return of


def link(classes: Path, samples: Sequence[Sample], folder: Path) -> Path:
    """A folder with some photographs and their masks, for `lexiseg train finetune`."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for sample in samples:
        (folder / "images" / sample.image.name).symlink_to(sample.image.resolve())
        (folder / "masks" / sample.mask.name).symlink_to(sample.mask.resolve())
    (folder / CLASSES).symlink_to(classes.resolve())
    return folder


def tuned(classes: Path, samples: Sequence[Sample], place: Path, seed: int, overrides: Sequence[str]) -> Segmenter:
    """`tiny`, tuned on some photographs."""
    values = {"data": link(classes, samples, place / "pictures"), "out": place / "run", "seed": seed, "samples": 0}
    planned = read_recipe("finetune", [*(f"{name}={value}" for name, value in values.items()), *overrides])
    weights = planned.training.trainer(planned.recipe).train()
    assert weights is not None, "the training was stopped"
    folder, start = place / "model", catalogue.find("tiny", None)[0]
    folder.mkdir()
    trial = Trial(folder, start, tuple(json.loads(classes.read_bytes())), "cpu")
    trial.write(load_file(weights.parent / PROJECTIONS)["projections"][-1], 1.0)
    card = catalogue.read_card(start).model_copy(update={"weights_sha256": file_digest(folder / FILE)})
    return catalogue.load_folder(folder, "cpu", card=card)


def main(arguments: Sequence[str]) -> None:
    """Tune all models and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks doubt", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of the data sets")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the recipe finetune")
    parser.add_argument("--set", default="car-parts", help="of which `train` is used")
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--pool", type=int, default=100, help="photographs to choose from")
    parser.add_argument("--chosen", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_intermixed_args(arguments)
    data = read_dataset(options.root, options.set, "train")
    order = np.random.default_rng(SPLIT).permutation(len(data.samples)).tolist()
    held_out = _part(data, order[: options.held_out])
    rest = order[options.held_out :]
    start = catalogue.load("tiny")
    start.encode = encode = once(start)  # type: ignore[method-assign,assignment]
    before = counts_of(start, held_out)
    print(f"start: mIoU {_miou(before):.1f}", flush=True)
    sure = sureness(start, data)
    figures: dict[str, list[float]] = {"by doubt": [], "at random": []}
    for seed in range(options.seeds):
        pool = np.random.default_rng(seed).permutation(rest)[: options.pool].tolist()
        choices = {"by doubt": sorted(pool, key=sure), "at random": pool}
        for name, numbers in choices.items():
            with tempfile.TemporaryDirectory() as place:
                samples = [data.samples[number] for number in numbers[: options.chosen]]
                model = tuned(options.root / options.set / CLASSES, samples, Path(place), seed, options.overrides)
            model.encode = encode  # type: ignore[method-assign,assignment]
            after = counts_of(model, held_out)
            figures[name].append(_miou(after))
            change = BeforeAfter(data.classes, before, after).change
            print(f"seed {seed}, {name}: mIoU {_miou(after):.1f} ({change.low:+.1f} to {change.high:+.1f})", flush=True)
    rows = [
        [name, ", ".join(f"{each:.1f}" for each in by_seed), f"{mean(by_seed):.1f} ± {stdev(by_seed or [0, 0]):.1f}"]
        for name, by_seed in figures.items()
    ]
    head = [f"{options.chosen} of {options.pool}", "mIoU by seed", "mean"]
    print_table(f"Tuned on {options.set}, measured on {options.held_out} others", head, rows)


def _part(data: IndexedDataset, numbers: Sequence[int]) -> IndexedDataset:
    return replace(data, samples=tuple(data.samples[number] for number in numbers))


def _miou(counts: NDArray[np.int64]) -> float:
    return float(scores(counts.sum(0)).miou)
