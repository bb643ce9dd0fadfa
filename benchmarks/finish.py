"""Upsampling and arg-max: only the candidates of each cell, against every class everywhere."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import cost, print_table
from lexiseg_model.masks.upsample import winners

SIZE = (1080, 1920)
GRID = (72, 128)
CLASSES = (10, 150, 1000)
PLAIN_UP_TO = 150  # 1,000 classes at this size would take 8 GB in the plain formulation


def smooth_scores(n_classes: int) -> Tensor:
    """[K, h, w] logits that change as smoothly over the picture as a network's do."""
    coarse = torch.randn(1, n_classes, 9, 16, generator=torch.Generator().manual_seed(0)) * 4
    return F.interpolate(coarse, size=GRID, mode="bicubic")[0].contiguous()


def plain(scores: Tensor) -> Tensor:
    """Every class to every pixel, then arg-max."""
    return F.interpolate(scores[None], size=SIZE, mode="bilinear")[0].argmax(0)


def run() -> None:
    """CPU milliseconds on one thread."""
    torch.set_num_threads(1)
    rows = []
    few = 0.0
    for n_classes in CLASSES:
        scores = smooth_scores(n_classes)
        ours = cost(partial(winners, scores, SIZE)).cpu
        few = few or ours
        theirs = cost(partial(plain, scores), runs=2).cpu if n_classes <= PLAIN_UP_TO else None
        rows.append(
            [
                str(n_classes),
                f"{1e3 * ours:.0f}",
                "-" if theirs is None else f"{1e3 * theirs:.0f}",
                "-" if theirs is None else f"{theirs / ours:.1f}x",
                f"{ours / few:.1f}x",
            ]
        )
    head = ["classes", "candidates only, ms", "plain, ms", "gain", "against 10 classes"]
    print_table(f"Arg-max at {SIZE[1]} x {SIZE[0]}, CPU time on one thread", head, rows)
