"""Classes by example against their words: `python -m benchmarks examples ROOT [SET ...]`.

Each class of an indexed data set is described by boxes around its objects in photographs of `train`, and segmented on
`val` without a word. Prints the table of docs/examples.md, beside the figures of the words.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset, read_dataset
from lexiseg_model.data.scenes import components
from lexiseg_model.evaluation.counts import Counts, Scores, count, scores
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

SETS = ("voc", "coco", "street", "camvid", "fashion")
MIN_AREA = 0.01  # share of the picture; smaller objects are examples only where there are no others
MIN_FILL = 0.5  # share of its box that an object fills, likewise
MAX_PHOTOGRAPHS = 500  # of train
FAILS = 5.0  # percent of IoU below which a word counts as failing


class Box(NamedTuple):
    """A box around an object, its photograph, and its rank as an example (False first)."""

    sample: int
    box: tuple[float, float, float, float]
    rank: tuple[bool, bool]


class Row(NamedTuple):
    """mIoU in percent of one data set by words and by examples, over classes with examples; then of the classes whose
    word fails."""

    name: str
    word: float
    example: float
    failing: int
    word_failing: float
    example_failing: float


def boxes_of(data: IndexedDataset) -> dict[int, list[Box]]:
    """Boxes around the objects of each class in some photographs."""
    some = np.random.default_rng(0).permutation(len(data.samples))[:MAX_PHOTOGRAPHS]
    of_class: dict[int, list[Box]] = {}
    for sample in some.tolist():
        labels = data.samples[sample].read_mask()
        of = [value for value in np.unique(labels).tolist() if _asked(data, value)]
        parts = components(labels, of)
        for value, area, (left, top, right, bottom) in zip(
            parts.labels, parts.areas, _extents(parts.ids, len(parts.labels)), strict=True
        ):
            fill = area / ((right - left) * (bottom - top))
            rank = (bool(area < MIN_AREA * labels.size), bool(fill < MIN_FILL))
            of_class.setdefault(int(value), []).append(Box(sample, (left, top, right, bottom), rank))
    return of_class


def chosen(boxes: dict[int, list[Box]], n: int, seed: int) -> dict[int, list[Box]]:
    """Random `n` boxes of each class in as many photographs; large objects that fill their box come first."""
    rng = np.random.default_rng(seed)
    return {value: _first([some[place] for place in rng.permutation(len(some))], n) for value, some in boxes.items()}


def evaluate(segmenter: Segmenter, train: IndexedDataset, val: IndexedDataset, n: int, draws: int) -> Row:
    """Segment every photograph of `val` by words, and by `draws` choices of `n` examples of each class."""
    rows_of = KnownRows(segmenter)
    asked = [value for value in range(len(val.classes)) if _asked(val, value)]
    background = Background() if val.has_background else None
    boxes = boxes_of(train)
    shown = [_shown(segmenter, train, chosen(boxes, n, seed)) for seed in range(draws)]
    words = Vocabulary(tuple(ClassEntry(val.classes[value]) for value in asked), background)
    vocabularies = [
        words,
        *(
            Vocabulary(tuple(_entry(val.classes[value], made.get(value)) for value in asked), background)
            for made in shown
        ),
    ]
    value_of = np.append(asked, 0)
    counts = [Counts.none(len(val.classes)) for _ in vocabularies]
    for sample in val.samples:
        image, truth = sample.read(len(val.classes))
        features = segmenter.encode(image)
        for place, vocabulary in enumerate(vocabularies):
            logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
            labels = winners(logits, features.size).labels
            counts[place] += count(truth, value_of[labels], len(val.classes))
    by_word, *by_example = (scores(each) for each in counts)
    there = np.array([value for value in asked if counts[0].truth[value] and all(value in made for made in shown)])
    failing = there[by_word.per_class[there] < FAILS]
    return Row(
        val.name, _mean(by_word, there), _means(by_example, there),
        len(failing), _mean(by_word, failing), _means(by_example, failing),
    )  # fmt: skip


def table(rows: list[Row]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| set | by words | by examples | share | words that fail | by words | by examples |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        share = row.example / row.word
        failing = (f"{each:.1f}" if row.failing else "-" for each in (row.word_failing, row.example_failing))
        cells = (row.name, f"{row.word:.1f}", f"{row.example:.1f}", f"{share:.2f}", str(row.failing), *failing)
        yield f"| {' | '.join(cells)} |"
    yield f"| mean | | | {np.mean([row.example / row.word for row in rows]):.2f} | | | |"


def _asked(data: IndexedDataset, value: int) -> bool:
    return value < len(data.classes) and data.classes[value] != BACKGROUND


def _extents(ids: NDArray[np.integer], n: int) -> list[tuple[float, float, float, float]]:
    """Boxes around the parts 1 to n of a map [H, W]."""
    rows, columns = np.nonzero(ids)
    part = ids[rows, columns] - 1
    low, high = np.full((2, n), max(ids.shape)), np.zeros((2, n), np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], part, places)
        np.maximum.at(high[axis], part, places + 1)
    return [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in zip(*low, *high, strict=True)]


def _first(found: list[Box], n: int) -> list[Box]:
    """The best ranked boxes, at most one per photograph."""
    chosen: dict[int, Box] = {}
    for shown in sorted(found, key=lambda each: each.rank):
        chosen.setdefault(shown.sample, shown)
    return list(chosen.values())[:n]


def _shown(segmenter: Segmenter, train: IndexedDataset, boxes: dict[int, list[Box]]) -> dict[int, Shown]:
    by_sample: dict[int, list[tuple[int, Box]]] = {}
    for value, some in boxes.items():
        for each in some:
            by_sample.setdefault(each.sample, []).append((value, each))
    rows: dict[int, list[bytes]] = {}
    for sample, some_boxes in by_sample.items():
        features = segmenter.encode(train.samples[sample].read_image())
        made = segmenter.example_rows(features, [Region(Prompt(box=each.box)) for _, each in some_boxes])
        for (value, _), row in zip(some_boxes, made, strict=True):
            rows.setdefault(value, []).append(row.tobytes())
    return {value: Shown(tuple(some)) for value, some in rows.items()}


def _entry(name: str, shown: Shown | None) -> ClassEntry:
    """A class by example; by its word where no training photograph shows it."""
    return ClassEntry(name) if shown is None else ClassEntry(name, shown=shown, named=False)


def _mean(of: Scores, values: NDArray[np.int64]) -> float:
    return float(np.nan_to_num(of.per_class[values]).mean()) if len(values) else float("nan")


def _means(of: list[Scores], values: NDArray[np.int64]) -> float:
    return float(np.mean([_mean(each, values) for each in of]))


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks examples", description="Classes by example against their words.")
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--examples", type=int, default=3, help="of each class")
    parser.add_argument("--draws", type=int, default=3, help="choices of examples, whose figures are averaged")
    asked = parser.parse_args(arguments)
    segmenter = catalogue.load(asked.model)
    rows = []
    for name in asked.sets:
        train, val = (read_dataset(asked.root, name, split) for split in ("train", "val"))
        rows.append(evaluate(segmenter, train, val, asked.examples, asked.draws))
        print(rows[-1], flush=True)
    print("\n".join(table(rows)))
