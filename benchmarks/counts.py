"""Regression check of `make bench`: work per request, counted, against the baseline in `counts.json`.

Counts torch operations, the elements they write, and Python calls, none of which depend on the machine's load.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.counters import count_calls, count_tensor_work, one_thread
from benchmarks.timing import print_table
from lexiseg_model import tasks
from lexiseg_model.abilities import proposing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextRows, words_of
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Task, Vocabulary

BASELINE = Path(__file__).with_name("counts.json")
MAX_INCREASE = 15  # percent over the baseline
SIZE = (480, 640)
WORDS = (
    "sky building tree lake person car boat grass road mountain temple roof water stone wall flower dog cat bus fence"
)
Counts = dict[str, int]


def workloads(segmenter: Segmenter) -> dict[str, Callable[[], object]]:
    """Requests to `tiny`, by name; image features and text rows are cached, except in the image pass and proposals."""
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    plan = segmenter.plan(rgb)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    rows: dict[tuple[str, ...], TextRows] = {}

    def rows_of(texts: list[str]) -> TextRows:
        if tuple(texts) not in rows:
            rows[tuple(texts)] = words_of(segmenter).encode_texts(texts)
        return rows[tuple(texts)]

    def segment(task: Task, classes: str, prompts: tuple[Prompt, ...] = ()) -> object:
        vocabulary = Vocabulary(tuple(ClassEntry(word) for word in classes.split()), Background() if classes else None)
        options = tasks.Options(prompts=prompts, keep_label_map=False)
        return tasks.segment(task, segmenter, features, vocabulary, options, rows_of)

    def propose() -> object:
        return proposing(segmenter).propose(Features(features.size, features.tensors))

    points = [Point(40 + 70 * column, 60 + 100 * row) for row in range(4) for column in range(4)]
    return {
        "image pass": partial(segmenter.encode_tiles, plan.tiles),
        "20 classes": partial(segment, "semantic", WORDS),
        "instances": partial(segment, "instance", WORDS),
        "a later click": partial(segment, "prompt", "", (Prompt(points=(points[0],)),)),
        "16 clicks": partial(segment, "prompt", "", tuple(Prompt(points=(point,)) for point in points)),
        "proposals": propose,
    }


def count() -> Counts:
    """Count the work of every workload, by name and kind."""
    one_thread()
    counts: Counts = {}
    for name, work in workloads(catalogue.load("tiny", device="cpu", precision="exact")).items():
        tensor_work = count_tensor_work(work)
        counts[f"{name}: tensor operations"] = tensor_work.operations
        counts[f"{name}: numbers written"] = tensor_work.elements
        counts[f"{name}: calls"] = count_calls(work)
    return counts


def regressions(counts: Counts, baseline: Counts) -> list[str]:
    """Messages for the counts more than MAX_INCREASE percent above the baseline."""
    return [
        f"{name}: {count} against {baseline[name]}"
        for name, count in counts.items()
        if name in baseline and 100 * count > (100 + MAX_INCREASE) * baseline[name]
    ]


def run() -> None:
    """Print the table; exit with an error on a regression. `--write` stores the counts as the new baseline."""
    counts = count()
    if "--write" in sys.argv:
        BASELINE.write_text(json.dumps({"counts": counts}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())["counts"]
    rows = [
        [name, str(baseline.get(name, "-")), str(count), f"{count / baseline[name]:.2f}" if baseline.get(name) else "-"]
        for name, count in counts.items()
    ]
    print_table("Work counted, against the baseline", ["workload", "baseline", "now", "ratio"], rows)
    if messages := regressions(counts, baseline):
        sys.exit(f"more than {MAX_INCREASE} % over the baseline: " + "; ".join(messages))
