"""Time and memory of a step that contrasts all its pairs, by parts and processes: `python -m benchmarks contrast`.

Each step has a process of its own, or two on this machine, of one thread each. Time is CPU time of a process, so it
holds on a busy machine; memory is what a step takes beyond network and inputs. Networks and sizes are those of the
`-smoke` recipes, weights and photographs random.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.timing import print_table
from lexiseg_model.clip.towers import ClipTowers, fresh_clip
from lexiseg_model.clip.vision import require_plain_vit
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.tcl.network import TclNetwork, logistic_noise
from lexiseg_train.methods.s_seg.trainer import Inputs, SSegLosses, mask_maker
from lexiseg_train.methods.s_seg.trainings import SSegRecipe
from lexiseg_train.methods.tcl.trainer import Learned, inputs_of, joined, rows_of
from lexiseg_train.methods.tcl.trainings import TclRecipe
from lexiseg_train.training.learner import Learner
from lexiseg_train.training.processes import join, rank, world_size
from lexiseg_train.training.recipes.read import read_recipe
from lexiseg_train.training.run import total

PARTS = (1, 4, 16)
RANKS = (1, 2)
MEGABYTE = 1 << 10  # of `ru_maxrss`, which counts kilobytes


class Step(NamedTuple):
    """A network in training, and what a run of pairs computes of a step's parts."""

    learner: Learner[Any]
    inputs: Callable[[list[Tensor]], list[Any]]
    rows: Callable[[Any], Any]
    loss: Callable[[Any], Tensor]


def tcl_step(crop: int) -> Step:
    recipe = read_recipe("tcl-smoke", ["device=cpu"]).recipe
    assert isinstance(recipe, TclRecipe)
    model = fresh_clip(recipe.architecture, quick_gelu=True)
    network = TclNetwork(require_plain_vit(ClipTowers(model, recipe.architecture, quick_gelu=True).visual))
    learned = Learned(network, recipe.loss)

    def inputs(parts: list[Tensor]) -> list[Any]:
        noise = logistic_noise(torch.rand(len(parts[0]), crop // 4, crop // 4))
        width = network.visual.proj.shape[1]
        return joined([inputs_of(network, part, torch.randn(len(part), width), noise) for part in parts])

    learner = Learner(recipe, learned, torch.device("cpu"))
    return Step(learner, inputs, lambda part: rows_of(network, part), lambda rows: total(learned.losses.of_rows(rows)))


def s_seg_step(crop: int) -> Step:
    recipe = read_recipe("s-seg-smoke", ["device=cpu"]).recipe
    assert isinstance(recipe, SSegRecipe)
    losses = SSegLosses(SSegNetwork(recipe.network), recipe.loss)
    maker = mask_maker(recipe.masks)
    learner = Learner(recipe, losses.train(), torch.device("cpu"))

    def inputs(parts: list[Tensor]) -> list[Any]:
        tokens = torch.tensor([49406, 320, 1125, 49407])
        padded = nn.functional.pad(tokens, (0, 77 - len(tokens)))
        return [Inputs(part, padded.expand(len(part), -1), maker(part)) for part in parts]

    return Step(learner, inputs, losses.rows, lambda rows: total(losses.of_rows(rows)))


STEPS = {"tcl": tcl_step, "s-seg": s_seg_step}


def measure(method: str, pairs: int, n_parts: int, crop: int, steps: int, out: Path) -> None:
    """Write the median CPU seconds of a step and its peak of memory in megabytes to `out`, as JSON by rank 0."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    join("cpu")
    step = STEPS[method](crop)
    images = torch.randn(pairs // world_size(), 3, crop, crop)
    inputs = step.inputs(list(images.chunk(n_parts)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(steps):
        begin = time.process_time()
        step.learner.begin(1e-4)
        step.learner.backward_over_rows(step.rows, step.loss, inputs)
        seconds.append(time.process_time() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if rank() == 0:
        out.write_text(json.dumps([statistics.median(seconds), (peak - before) / MEGABYTE]))


def measured(method: str, n_parts: int, ranks: int, options: argparse.Namespace) -> tuple[float, float]:
    """`measure` in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        command += ["--nproc-per-node", str(ranks), "-m", "benchmarks.contrast", str(out), method, str(n_parts)]
        command += [str(options.pairs), str(options.crop), str(options.steps)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GLOO_SOCKET_IFNAME": "lo"}
        environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # without DDP's advice on unused parameters
        subprocess.run(command, check=True, env=environment)
        seconds, megabytes = json.loads(out.read_text())
    return seconds, megabytes


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks contrast", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1024, help="of a step")
    parser.add_argument("--crop", type=int, default=32, help="side of a photograph in pixels, a multiple of 16")
    parser.add_argument("--steps", type=int, default=3, help="measured one after the other")
    options = parser.parse_args(arguments)
    rows = []
    for method in STEPS:
        for ranks in RANKS:
            whole = 0.0
            for n_parts in PARTS:
                seconds, megabytes = measured(method, n_parts, ranks, options)
                whole = whole or seconds
                cells = [method, str(ranks), str(n_parts), f"{seconds:.1f}", f"{seconds / whole:.2f}"]
                rows.append([*cells, f"{megabytes:,.0f}"])
                print(" ".join(rows[-1]), flush=True)
    head = ["method", "ranks", "parts", "CPU seconds of a rank", "of one part's", "MB of a rank"]
    print_table(f"A step of {options.pairs:,} pairs", head, rows)


if __name__ == "__main__":
    place, name, *numbers = sys.argv[1:]
    of_parts, of_pairs, side, repeated = map(int, numbers)
    measure(name, of_pairs, of_parts, side, repeated, Path(place))
