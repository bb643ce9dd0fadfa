"""mIoU of classes by example images against classes by words: `python -m benchmarks examples ROOT [SET ...]`.

Examples are boxes around a class's objects in photographs of `train`; mIoU is measured on `val`. Prints the table of
docs/teach.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.abilities import examples_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.data.scenes import components
from lexiseg_train.evaluation.counts import Scores, count, scores

SETS = ("voc", "coco", "street", "camvid", "fashion")
MIN_AREA = 0.01  # share of the image; smaller objects are examples only if there are no others
MIN_FILL = 0.5  # share of its box that an object covers, likewise
MAX_PHOTOGRAPHS = 500  # of `train`
FAILS = 5.0  # IoU in percent below which a word fails


class Box(NamedTuple):
    """A box (left, top, right, bottom) around an object, its photograph, and its rank as an example (False first)."""

    sample: int
    box: tuple[float, float, float, float]
    rank: tuple[bool, bool]


class Row(NamedTuple):
    """mIoU in percent by words and by examples on one data set: all classes with examples; those whose word fails."""

    name: str
    word: float
    example: float
    failing: int
    word_failing: float
    example_failing: float


def boxes_by_class(data: IndexedDataset) -> dict[int, list[Box]]:
    """Boxes around the objects of each class in up to MAX_PHOTOGRAPHS random photographs."""
    samples = np.random.default_rng(0).permutation(len(data.samples))[:MAX_PHOTOGRAPHS]
    boxes: dict[int, list[Box]] = {}
    for sample in samples.tolist():
        labels = data.samples[sample].read_mask()
        parts = components(labels, [value for value in np.unique(labels).tolist() if _is_foreground(data, value)])
        for value, area, (left, top, right, bottom) in zip(
            parts.labels, parts.areas, _extents(parts.ids, len(parts.labels)), strict=True
        ):
            fill = area / ((right - left) * (bottom - top))
            rank = (bool(area < MIN_AREA * labels.size), bool(fill < MIN_FILL))
            boxes.setdefault(int(value), []).append(Box(sample, (left, top, right, bottom), rank))
    return boxes


def draw_examples(boxes: dict[int, list[Box]], n: int, seed: int) -> dict[int, list[Box]]:
    """Draw `n` boxes of each class from different photographs, large objects that fill their box first."""
    rng = np.random.default_rng(seed)
    return {value: _best([pool[i] for i in rng.permutation(len(pool))], n) for value, pool in boxes.items()}


def evaluate(
    segmenter: Segmenter, train: IndexedDataset, val: IndexedDataset, n: int, draws: int, named: bool = False
) -> Row:
    """Evaluate `val` by words, and by `n` examples of each class, averaged over `draws` random draws.

    `named`: the examples stand beside the words.
    """
    rows_of = KnownRows(segmenter)
    values = [value for value in range(len(val.classes)) if _is_foreground(val, value)]
    background = Background() if val.has_background else None
    boxes = boxes_by_class(train)
    example_sets = [_examples(segmenter, train, draw_examples(boxes, n, seed)) for seed in range(draws)]
    words = Vocabulary(tuple(ClassEntry(val.classes[value]) for value in values), background)
    vocabularies = [
        words,
        *(
            Vocabulary(tuple(_entry(val.classes[value], examples.get(value), named) for value in values), background)
            for examples in example_sets
        ),
    ]
    value_of = np.append(values, 0)
    counts = np.zeros((len(vocabularies), 3, len(val.classes)), np.int64)
    for sample in val.samples:
        image, truth = sample.read(len(val.classes))
        features = segmenter.encode(image)
        for index, vocabulary in enumerate(vocabularies):
            logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
            labels = winners(logits, features.size).labels
            counts[index] += count(truth, value_of[labels], len(val.classes))
    by_word, *by_example = (scores(total) for total in counts)
    is_in_all = [value for value in values if counts[0, 1, value] and all(value in made for made in example_sets)]
    present = np.array(is_in_all)
    failing = present[by_word.per_class[present] < FAILS]
    return Row(
        val.name, _mean(by_word, present), _means(by_example, present),
        len(failing), _mean(by_word, failing), _means(by_example, failing),
    )  # fmt: skip


def table(rows: list[Row]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| set | by words | by examples | share | words that fail | by words | by examples |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        share = row.example / row.word
        failing = (f"{miou:.1f}" if row.failing else "-" for miou in (row.word_failing, row.example_failing))
        cells = (row.name, f"{row.word:.1f}", f"{row.example:.1f}", f"{share:.2f}", str(row.failing), *failing)
        yield f"| {' | '.join(cells)} |"
    yield f"| mean | | | {np.mean([row.example / row.word for row in rows]):.2f} | | | |"


def _is_foreground(data: IndexedDataset, value: int) -> bool:
    return value < len(data.classes) and data.classes[value] != BACKGROUND


def _extents(ids: NDArray[np.integer], n: int) -> list[tuple[float, float, float, float]]:
    """Bounding boxes (left, top, right, bottom) of the parts 1 to n of an id map [H, W]."""
    rows, columns = np.nonzero(ids)
    part = ids[rows, columns] - 1
    low, high = np.full((2, n), max(ids.shape)), np.zeros((2, n), np.int64)
    for axis, coordinates in enumerate((columns, rows)):
        np.minimum.at(low[axis], part, coordinates)
        np.maximum.at(high[axis], part, coordinates + 1)
    return [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in zip(*low, *high, strict=True)]


def _best(boxes: list[Box], n: int) -> list[Box]:
    """The `n` best ranked boxes, at most one per photograph."""
    by_sample: dict[int, Box] = {}
    for box in sorted(boxes, key=lambda box: box.rank):
        by_sample.setdefault(box.sample, box)
    return list(by_sample.values())[:n]


def _examples(segmenter: Segmenter, train: IndexedDataset, boxes: dict[int, list[Box]]) -> dict[int, Shown]:
    by_sample: dict[int, list[tuple[int, Box]]] = {}
    for value, class_boxes in boxes.items():
        for box in class_boxes:
            by_sample.setdefault(box.sample, []).append((value, box))
    rows: dict[int, list[bytes]] = {}
    for sample, sample_boxes in by_sample.items():
        features = segmenter.encode(train.samples[sample].read_image())
        embeddings = examples_of(segmenter).example_rows(
            features, [Region(Prompt(box=box.box)) for _, box in sample_boxes]
        )
        for (value, _), row in zip(sample_boxes, embeddings, strict=True):
            rows.setdefault(value, []).append(row.tobytes())
    return {value: Shown(tuple(class_rows)) for value, class_rows in rows.items()}


def _entry(name: str, shown: Shown | None, named: bool) -> ClassEntry:
    """A class by example, or by its word if no training photograph shows it."""
    return ClassEntry(name) if shown is None else ClassEntry(name, shown=shown, named=named)


def _mean(result: Scores, values: NDArray[np.int64]) -> float:
    return float(np.nan_to_num(result.per_class[values]).mean()) if len(values) else float("nan")


def _means(results: list[Scores], values: NDArray[np.int64]) -> float:
    return float(np.mean([_mean(result, values) for result in results]))


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks examples", description="mIoU by example images against words.")
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--examples", type=int, default=3, help="per class")
    parser.add_argument("--draws", type=int, default=3, help="random draws of examples to average")
    parser.add_argument("--words", action="store_true", help="give the words as well")
    options = parser.parse_args(arguments)
    segmenter = catalogue.load(options.model, runtime="auto")
    rows = []
    for name in options.sets:
        train, val = (read_dataset(options.root, name, split) for split in ("train", "val"))
        rows.append(evaluate(segmenter, train, val, options.examples, options.draws, options.words))
        print(rows[-1], flush=True)
    print("\n".join(table(rows)))
