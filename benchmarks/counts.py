"""What an answer takes, counted, against what it took when `counts.json` was written: `make bench` fails on a loss.

Operations of torch, the numbers they write, and calls of Python: none depends on what else runs on the machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.clock import print_table
from benchmarks.counting import calls, one_thread, tensor_work
from lexiseg_model import catalogue, tasks
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextRows
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Task, Vocabulary

BASELINE = Path(__file__).with_name("counts.json")
MAX_LOSS = 15  # per cent
SIZE = (480, 640)
WORDS = (
    "sky building tree lake person car boat grass road mountain temple roof water stone wall flower dog cat bus fence"
)
Counts = dict[str, int]


def answers(segmenter: Segmenter) -> dict[str, Callable[[], object]]:
    """What is asked of `tiny`, by name; the image and the words are known unless the name says otherwise."""
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    plan = segmenter.plan(rgb)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    rows: dict[tuple[str, ...], TextRows] = {}

    def rows_of(texts: list[str]) -> TextRows:
        if tuple(texts) not in rows:
            rows[tuple(texts)] = segmenter.encode_texts(texts)
        return rows[tuple(texts)]

    def ask(task: Task, classes: str, prompts: tuple[Prompt, ...] = ()) -> object:
        vocabulary = Vocabulary(tuple(ClassEntry(word) for word in classes.split()), Background() if classes else None)
        options = tasks.Options(prompts=prompts, keep_label_map=False)
        return tasks.segment(task, segmenter, features, vocabulary, options, rows_of)

    def everything() -> object:
        return segmenter.propose(Features(features.size, features.tensors))

    points = [Point(40 + 70 * column, 60 + 100 * row) for row in range(4) for column in range(4)]
    return {
        "image pass": partial(segmenter.encode_tiles, plan.tiles),
        "20 classes": partial(ask, "semantic", WORDS),
        "instances": partial(ask, "instance", WORDS),
        "a later click": partial(ask, "prompt", "", (Prompt(points=(points[0],)),)),
        "16 clicks": partial(ask, "prompt", "", tuple(Prompt(points=(point,)) for point in points)),
        "proposals": everything,
    }


def count() -> Counts:
    """Everything, by name."""
    one_thread()
    counts: Counts = {}
    for name, work in answers(catalogue.load("tiny", device="cpu", precision="exact")).items():
        done = tensor_work(work)
        counts[f"{name}: tensor operations"] = done.operations
        counts[f"{name}: numbers written"] = done.elements
        counts[f"{name}: calls"] = calls(work)
    return counts


def losses(now: Counts, before: Counts) -> list[str]:
    """What takes more than MAX_LOSS above what it took, in words."""
    return [
        f"{name}: {count} against {before[name]}"
        for name, count in now.items()
        if name in before and 100 * count > (100 + MAX_LOSS) * before[name]
    ]


def run() -> None:
    """Prints the table; ends the program on a loss. `--write` makes what is counted now the baseline."""
    counts = count()
    if "--write" in sys.argv:
        BASELINE.write_text(json.dumps({"counts": counts}, indent=1) + "\n")
    before = json.loads(BASELINE.read_text())["counts"]
    rows = [
        [name, str(before.get(name, "-")), str(number), f"{number / before[name]:.2f}" if before.get(name) else "-"]
        for name, number in counts.items()
    ]
    print_table("Work counted, against the baseline", ["what", "baseline", "now", "ratio"], rows)
    if lost := losses(counts, before):
        sys.exit(f"more than {MAX_LOSS} % over the baseline: " + "; ".join(lost))
