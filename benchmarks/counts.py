"""What an answer takes, counted, against what it took when `counts.json` was written: `make bench` fails on a loss.

Three counts: operations of torch and the numbers they write; calls of Python; instructions of the kernel under
callgrind, where valgrind is. None of them depends on what else runs on the machine. Instructions depend on compiler
and processor, so they are compared only where these are those of the baseline.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from torch.backends import cpu

from benchmarks.clock import print_table
from benchmarks.counting import calls, instructions, one_thread, tensor_work
from lexiseg_model import catalogue, tasks
from lexiseg_model.features import Features
from lexiseg_model.kernel import library
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


def built_with() -> str:
    """Compiler and processor, as far as they decide which instructions run."""
    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    return f"cc {compiler}, {cpu.get_cpu_capability()}"


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
    of_kernel = instructions() if library.ready() else None
    kernel = {f"kernel: {name}: instructions": number for name, number in (of_kernel or {}).items()}
    if "--write" in sys.argv:
        written = {"counts": counts, "kernel": kernel, "kernel_built_with": built_with()}
        BASELINE.write_text(json.dumps(written, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())
    before = baseline["counts"]
    if not kernel:
        print("\nThe kernel's instructions are not counted: valgrind or the kernel is missing.")
    elif baseline["kernel_built_with"] == built_with():
        counts, before = counts | kernel, before | baseline["kernel"]
    else:
        print(f"\nThe kernel's instructions are not compared: {built_with()}, not {baseline['kernel_built_with']}.")
    rows = [
        [name, str(before.get(name, "-")), str(number), f"{number / before[name]:.2f}" if before.get(name) else "-"]
        for name, number in counts.items()
    ]
    print_table("Work counted, against the baseline", ["what", "baseline", "now", "ratio"], rows)
    if lost := losses(counts, before):
        sys.exit(f"more than {MAX_LOSS} % over the baseline: " + "; ".join(lost))
