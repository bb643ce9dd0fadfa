"""Upsampling and arg-max: the kernel and its twin against torch's bilinear upsampling; words drawn together."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernel import kernel_disabled
from benchmarks.timing import cost, print_table
from lexiseg_model.kernel import library
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.tiny.scores import together
from lexiseg_model.methods.tiny.settings import TogetherRule

SIZE = (1080, 1920)
EMBEDDING = 144  # of the bundled weights of `tiny`
GRID = (72, 128)
# Classes, cells, pixels, and whether torch's version fits in memory: the last two would need 8 GB.
CASES = (
    (20, (60, 80), (480, 640), True),
    (150, GRID, SIZE, True),
    (150, (72, 96), (3000, 4000), False),
    (1000, GRID, SIZE, False),
)


def smooth_scores(n_classes: int, grid: tuple[int, int] = GRID) -> Tensor:
    """Random logits [K, h, w], spatially smooth like a network's."""
    coarse = torch.randn(1, n_classes, 9, 16, generator=torch.Generator().manual_seed(0)) * 4
    return F.interpolate(coarse, size=grid, mode="bicubic")[0].contiguous()


def plain(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample every class to every pixel, then arg-max."""
    return F.interpolate(scores[None], size=size, mode="bilinear")[0].argmax(0)


def draw_together(n_words: int) -> float:
    """CPU milliseconds of the rule of `tiny` by which so many asked words compete, on a photograph of 640 x 480."""
    scores, pixels = (smooth_scores(channels, (72, 96)) for channels in (n_words, EMBEDDING))
    question = [torch.ones(n_words, dtype=torch.bool)]
    return 1e3 * cost(partial(together, scores, pixels, torch.tensor(13.0), TogetherRule(), question)).cpu


def run() -> None:
    """Print CPU milliseconds on one thread."""
    torch.set_num_threads(1)
    if not library.ready():
        print("\nThe kernel is not compiled: both columns are its twin's.")
    rows, runs = [], []
    for n_classes, grid, size, fits_in_memory in CASES:
        scores = smooth_scores(n_classes, grid)
        case = [f"{size[1]} x {size[0]}", str(n_classes)]
        arg_max = partial(winners, scores, size)
        encode = partial(encode_label_map, arg_max().labels, n_classes)
        compiled, compiled_runs = cost(arg_max).cpu, cost(encode).cpu
        with kernel_disabled():
            twin, twin_runs = cost(arg_max).cpu, cost(encode).cpu
        torch_time = cost(partial(plain, scores, size), runs=2).cpu if fits_in_memory else None
        times = [f"{1e3 * compiled:.1f}", f"{1e3 * twin:.1f}", f"{twin / compiled:.1f}x"]
        against = ["-", "-"] if torch_time is None else [f"{1e3 * torch_time:.0f}", f"{torch_time / compiled:.0f}x"]
        rows.append([*case, *times, *against])
        runs.append(
            [*case, f"{1e3 * compiled_runs:.1f}", f"{1e3 * twin_runs:.1f}", f"{twin_runs / compiled_runs:.1f}x"]
        )
    head = ["image", "classes", "compiled, ms", "twin, ms", "gain"]
    print_table("Arg-max, CPU time on one thread", [*head, "torch, ms", "gain over torch"], rows)
    print_table("RLE of the label map, CPU time", head, runs)
    drawn = [[str(n_words), f"{draw_together(n_words):.1f}"] for n_words in (2, 6, 19)]
    print_table("Asked words drawn together, CPU time on one thread", ["words", "ms"], drawn)
