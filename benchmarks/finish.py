"""Upsampling and arg-max: compiled and by numpy, only the candidates of each cell, against every class everywhere."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import cost, print_table
from benchmarks.kernel import numpy_alone
from lexiseg_model.kernel import library
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners

SIZE = (1080, 1920)
GRID = (72, 128)
# Classes, cells, pixels; the plain formulation of the last two would take 8 GB.
CASES = (
    (20, (60, 80), (480, 640), True),
    (150, GRID, SIZE, True),
    (150, (72, 96), (3000, 4000), False),
    (1000, GRID, SIZE, False),
)


def smooth_scores(n_classes: int, grid: tuple[int, int] = GRID) -> Tensor:
    """[K, h, w] logits that change as smoothly over the picture as a network's do."""
    coarse = torch.randn(1, n_classes, 9, 16, generator=torch.Generator().manual_seed(0)) * 4
    return F.interpolate(coarse, size=grid, mode="bicubic")[0].contiguous()


def plain(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Every class to every pixel, then arg-max."""
    return F.interpolate(scores[None], size=size, mode="bilinear")[0].argmax(0)


def run() -> None:
    """CPU milliseconds on one thread."""
    torch.set_num_threads(1)
    if not library.ready():
        print("\nThe kernel is not compiled here: both columns are numpy's.")
    rows, runs = [], []
    for n_classes, grid, size, affordable in CASES:
        scores = smooth_scores(n_classes, grid)
        what = [f"{size[1]} x {size[0]}", str(n_classes)]
        arg_max = partial(winners, scores, size)
        encode = partial(encode_label_map, arg_max().labels, n_classes)
        compiled, compiled_runs = cost(arg_max).cpu, cost(encode).cpu
        with numpy_alone():
            ours, our_runs = cost(arg_max).cpu, cost(encode).cpu
        theirs = cost(partial(plain, scores, size), runs=2).cpu if affordable else None
        times = [f"{1e3 * compiled:.1f}", f"{1e3 * ours:.1f}", f"{ours / compiled:.1f}x"]
        against = ["-", "-"] if theirs is None else [f"{1e3 * theirs:.0f}", f"{theirs / compiled:.0f}x"]
        rows.append([*what, *times, *against])
        runs.append([*what, f"{1e3 * compiled_runs:.1f}", f"{1e3 * our_runs:.1f}", f"{our_runs / compiled_runs:.1f}x"])
    head = ["image", "classes", "compiled, ms", "numpy, ms", "gain"]
    print_table("Arg-max, CPU time on one thread", [*head, "plain, ms", "gain over plain"], rows)
    print_table("Run lengths of that map, CPU time", head, runs)
