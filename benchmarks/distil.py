"""A student taught by `tiny` against one trained on masks alone, at equal steps: `python -m benchmarks distil ROOT`.

Both are half as wide, begin at random and see the same few masks of CamVid's `train`; the taught one sees its other
frames, too, with the teacher's masks. mIoU is measured on `val`. Prints the figures of docs/training.md. A run that is
there already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.timing import print_table
from lexiseg_train.data.indexed import CLASSES, photographs_in

SET = "camvid"
CONDITIONS = ("masks alone", "taught")
COMPARED = "before-after.json"  # of a run, in its folder


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
        subprocess.run([sys.executable, "-m", "lexiseg_service.cli", "train", "distil", *values], check=True)
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
