"""Distillation: `python -m benchmarks distil ROOT`, and `python -m benchmarks student SET`.

`distil`: a student taught by `tiny` against one trained on masks alone, at equal steps. Both are half as wide, begin at
random and see the same few masks of CamVid's `train`; the taught one sees its other frames, too, with the teacher's
masks. mIoU is measured on `val`. Prints the figures of docs/training.md. A run that is there already is not repeated.

`student`: a large model distilled into `tiny` on a public set, and a line to send. For a machine with a GPU and a
network: fetches the set, measures the teacher on its `val`, has it label the training photographs, trains a student
from the pretrained trunk, and measures that. Stopped and started again, it goes on. `--dry-run` prints the commands,
and what the training takes on this machine where the set is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.timing import print_table
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.methods.tiny.weights import FILE
from lexiseg_train.data.indexed import CLASSES, photographs_in

SET = "camvid"
CONDITIONS = ("masks alone", "taught")
COMPARED = "before-after.json"  # of a run, in its folder
TEACHER = "teacher.json"  # report of `lexiseg eval`, in the folder of a student's run


def link_photographs(source: Path, folder: Path, n_masks: int, taught: bool, seed: int) -> Path:
    """Link `n_masks` random frames with their masks into a folder; if `taught`, the other frames without masks, too."""
    images = photographs_in(source / "train")
    chosen = np.random.default_rng(seed).permutation(len(images))[:n_masks].tolist()
    for part in ("images", "masks"):
        (folder / "train" / part).mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        if index in chosen:
            _link(folder / "train" / "masks" / f"{image.stem}.png", source / "train" / "masks" / f"{image.stem}.png")
        if index in chosen or taught:
            _link(folder / "train" / "images" / image.name, image)
    for name in (CLASSES, "val"):
        _link(folder / name, source / name)
    return folder


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target.resolve())


def train(source: Path, out: Path, condition: str, seed: int, n_masks: int, overrides: Sequence[str]) -> float:
    """Run `lexiseg train distil`, or resume it; returns mIoU in percent."""
    run = out / f"{condition.replace(' ', '-')}-{seed}"
    if not (run / COMPARED).is_file():
        data = link_photographs(source, run / "photographs", n_masks, condition == "taught", seed)
        own = {"data": data, "out": run, "seed": seed, "teacher": "tiny", "start": "scratch", "samples": 0}
        values = [*(f"{name}={value}" for name, value in own.items()), *overrides]
        _run(["train", "distil", *values])
    report = json.loads((run / COMPARED).read_text(encoding="utf-8"))
    return float(report["after"]["miou"])


def main(arguments: Sequence[str]) -> None:
    """Train all runs and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks distil", description=__doc__)
    parser.add_argument("root", type=Path, help=f"folder of the data sets; {SET} is used")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the recipe distil")
    parser.add_argument("--masks", type=int, default=5, help="frames with masks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-distil"))
    options = parser.parse_intermixed_args(arguments)
    steps = ["steps=1600", "decay_steps=1000", *options.overrides]
    rows = []
    for condition in CONDITIONS:
        figures = []
        for seed in range(options.seeds):
            figures.append(train(options.root / SET, options.out, condition, seed, options.masks, steps))
            print(f"{condition}, seed {seed}: mIoU {figures[-1]:.1f}", flush=True)
        spread = stdev(figures) if len(figures) > 1 else 0.0
        rows.append([condition, ", ".join(f"{each:.1f}" for each in figures), f"{mean(figures):.1f} ± {spread:.1f}"])
    print_table(f"mIoU of CamVid's val, {options.masks} masks", ["student", "by seed", "mean"], rows)


def student(arguments: Sequence[str]) -> None:
    """Run the commands of a student, or print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks student", description=__doc__)
    parser.add_argument("set", help="a set of `lexiseg data fetch`, or one that is in the folder of sets")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the recipe distil")
    parser.add_argument("--teacher", default="tipsv2-b14", help="a model of the hub, or a model directory")
    parser.add_argument("--root", type=Path, default=Path("sets"), help="folder of sets")
    parser.add_argument("--words", help="file of words for `lexiseg data fetch`")
    parser.add_argument("--out", type=Path, default=Path("runs/student"))
    parser.add_argument("--lines", type=Path, default=Path("students.jsonl"), help="file that gets the line")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    source, run = options.root / options.set, options.out / "student"
    words = ["--words", options.words] if options.words else []
    fetch = ["data", "fetch", options.set, str(options.root), *words]
    there = source.is_dir()
    if not there:
        _run(fetch, options.dry_run)
    measure = ["eval", "--model", options.teacher, "--dataset", options.set, "--root", str(options.root)]
    _run([*measure, "--json", str(options.out / TEACHER)], options.dry_run)
    photographs = options.out / "photographs"
    if there or not options.dry_run:
        link_photographs(source, photographs, n_masks=0, taught=True, seed=0)
    values = {"teacher": options.teacher, "data": photographs, "out": run, "start": "scratch"}
    train = ["train", "distil", *(f"{name}={value}" for name, value in values.items()), *options.overrides]
    if there and options.dry_run:
        _run([*train, "--dry-run"])
    else:
        _run(train, options.dry_run)
    if not options.dry_run:
        line = _line(options.set, run, json.loads((options.out / TEACHER).read_text(encoding="utf-8")))
        with options.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"a line is in {options.lines}; send it to us in an issue: {json.dumps(line)}")


def _run(command: Sequence[str], dry_run: bool = False) -> None:
    print("lexiseg", *command, flush=True)
    if not dry_run:
        subprocess.run([sys.executable, "-m", "lexiseg_service.cli", *command], check=True)


def _line(name: str, run: Path, teacher: dict[str, object]) -> dict[str, object]:
    """What a run has shown, without names of folders or machines."""
    compared = json.loads((run / COMPARED).read_text(encoding="utf-8"))
    return {
        "teacher": compared["teacher"],
        "set": name,
        "images": compared["after"]["images"],
        "teacher_miou": teacher["miou"],
        "student_miou": compared["after"]["miou"],
        "student_sha256": file_digest(run / FILE),
        "lexiseg": version("lexiseg"),
        "day": datetime.now(UTC).date().isoformat(),
    }
