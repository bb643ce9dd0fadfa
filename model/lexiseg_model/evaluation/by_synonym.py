"""What asking by synonyms keeps: `python -m lexiseg_model.evaluation.by_synonym TEXTS ROOT [SET ...]`.

The whole class list of `val` is asked by the classes' own names, by the first synonym of each, and by one that is drawn
for each photograph. TEXTS is a YAML file with `synonyms`, names to lists, such as `texts.yaml` of `tiny`. Prints the
table of docs/quality.md, with intervals by bootstrap over photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset, read_dataset
from lexiseg_model.evaluation.comparison.bootstrap import Difference, compare_counts
from lexiseg_model.evaluation.counts import count
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

SETS = ("voc", "coco", "street", "camvid", "fashion")
FIRST, DRAWN = "the first synonym of each", "one drawn for each photograph"

Synonyms = Mapping[str, Sequence[str]]


def evaluate(segmenter: Segmenter, data: IndexedDataset, synonyms: Synonyms, seed: int = 0) -> list[Difference]:
    """mIoU by own names (A) and by synonyms (B), the first ones and drawn ones."""
    values = [value for value, name in enumerate(data.classes) if name != BACKGROUND]
    names = [data.classes[value] for value in values]
    background = Background() if data.has_background else None
    rows_of, value_of = KnownRows(segmenter), np.append(values, 0)
    counts: list[list[NDArray[np.int64]]] = [[], [], []]
    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        plan = segmenter.plan(image)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        random = np.random.default_rng([seed, *sample.name.encode()])
        for kept, asked in zip(counts, (names, called(names, synonyms), called(names, synonyms, random)), strict=True):
            vocabulary = Vocabulary(tuple(map(ClassEntry, asked)), background)
            logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
            labels = value_of[winners(logits, features.size).labels]
            found = count(truth, labels, len(data.classes))
            kept.append(np.stack([found.hits, found.truth, found.predicted]))
    own, first, drawn = counts
    return [compare_counts(FIRST, own, first), compare_counts(DRAWN, own, drawn)]


def called(names: Sequence[str], synonyms: Synonyms, random: np.random.Generator | None = None) -> list[str]:
    """A synonym of each name, the first or one that is drawn; itself where it has none that is no other's name."""
    taken = set(names)
    asked: list[str] = []
    for name in names:
        free = [text for text in synonyms.get(name, ()) if text not in taken]
        text = name if not free else free[0] if random is None else str(random.choice(free))
        taken.add(text)
        asked.append(text)
    return asked


def table(sets: Mapping[str, Sequence[Difference]]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| | " + " | ".join(sets) + " |"
    yield "|---" * (len(sets) + 1) + "|"
    for rows in zip(*sets.values(), strict=True):
        cells = [
            f"{row.a:.1f} -> {row.b:.1f} ({row.low:+.1f} to {row.high:+.1f}), {100 * row.b / row.a:.1f} %"
            for row in rows
        ]
        yield f"| {rows[0].measure} | {' | '.join(cells)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What asking by synonyms keeps.")
    parser.add_argument("texts", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--model", default="tiny")
    asked = parser.parse_args()
    synonyms: Synonyms = yaml.safe_load(asked.texts.read_text())["synonyms"]
    segmenter = catalogue.load(asked.model)
    found = {}
    for name in asked.sets:
        found[name] = evaluate(segmenter, read_dataset(asked.root, name, "val"), synonyms)
        print(name, *(f"{row.measure}: {row.a:.2f} -> {row.b:.2f};" for row in found[name]), flush=True)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
