"""A training step of `tiny`: crops a second, tensor operations a step, beside what a step took before."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.clock import print_table
from benchmarks.counting import Tally
from lexiseg_model.methods.tiny.training.drawn.examples import Batch
from lexiseg_model.methods.tiny.training.recipe import TinyRecipe
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.training.packs import Photograph, write_pack
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.recipes.read import read_as

BEFORE = 14_964  # operations of a step over 32 crops, one photograph after the other
CROP = 224
BATCHES = (8, 32)
STEPS = 3  # measured, after one to warm up
PHOTOGRAPHS = 24
COLOURS, THINGS = ("red", "blue", "green"), ("ball", "box", "bar")
CLASSES = ("background", *(f"{colour} {thing}" for colour in COLOURS for thing in THINGS))


def run() -> None:
    """Drawn photographs of 256 x 342 pixels with nine classes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        packs = Path(folder)
        _write(packs)
        load_text_tower()
        for batch in BATCHES:
            phases = f"[{{after: 0.0, crop: {CROP}, global_batch: {batch}}}]"
            overrides = [f"packs={packs}", f"out={packs / 'run'}", "sets={drawn: 1.0}", "workers=0", f"phases={phases}"]
            trainer = TinyTrainer(read_as(TinyRecipe, "tiny", overrides))
            batches = iter(trainer._batches(LocalPhase(CROP, batch)))
            drawn = [next(batches) for _ in range(STEPS + 2)]
            trainer._step(drawn[0])  # the first makes the optimiser's state
            operations = _operations(trainer, drawn[1])
            wall, cpu = time.perf_counter(), time.process_time()
            for each in drawn[2:]:
                trainer._step(each)
            wall, cpu = (time.perf_counter() - wall) / STEPS, (time.process_time() - cpu) / STEPS
            gain = f"{BEFORE / operations:.1f}x" if batch == 32 else ""
            number = str(trainer.dtype).removeprefix("torch.")
            rows.append([str(batch), number, f"{batch / wall:.1f}", f"{batch / cpu:.1f}", f"{operations:,}", gain])
    head = ["batch", "numbers", "crops a second", "crops a CPU second", "operations a step", f"beside {BEFORE:,}"]
    print_table(f"Training of tiny at {CROP} px", head, rows)


def _operations(trainer: TinyTrainer, batch: Batch) -> int:
    with Tally() as counted:
        trainer._step(batch)
    return int(counted.operations)


def _write(packs: Path) -> None:
    random = np.random.default_rng(0)
    photographs = []
    for index in range(PHOTOGRAPHS):
        image = random.integers(0, 256, (256, 342, 3)).astype(np.uint8)
        mask = np.zeros((256, 342), np.uint8)
        for value in random.choice(np.arange(1, len(CLASSES)), 3, replace=False):
            top, left = random.integers(0, 160, 2)
            mask[top : top + 90, left : left + 120] = value
        photographs.append(Photograph(str(index), image, mask))
    write_pack(packs / "drawn", "drawn", CLASSES, photographs)
