"""PAMR from shifted views, band by band, against the plain formulation that unfolds every neighbourhood.

Time on one thread, and the largest resident memory of a process that does nothing else.
"""

from __future__ import annotations

import multiprocessing
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import cost, print_table
from benchmarks.memory import most_resident
from lexiseg_model.masks.pamr import NEIGHBOURS, PamrSettings, affinity, refine

SIDE = 448
CLASSES = (5, 20, 150)
UNFOLDED = (5, 20)  # with 150 it holds eleven gigabytes
SETTINGS = PamrSettings()


def plain(maps: Tensor, image: Tensor) -> Tensor:
    """Every map copied once for each neighbour, ten times over."""
    weights = affinity(image, SETTINGS.dilations)
    for _ in range(SETTINGS.iterations):
        maps = (_unfold(maps) * weights[:, None]).sum(0)
    return maps


def _unfold(maps: Tensor) -> Tensor:
    """[K, H, W] -> [48, K, H, W]."""
    copies = []
    for dilation in SETTINGS.dilations:
        padded = F.pad(maps[None], (dilation,) * 4, mode="replicate")[0]
        for y, x in NEIGHBOURS:
            top, left = dilation * (1 + y), dilation * (1 + x)
            copies.append(padded[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(copies)


def pictures(n_classes: int) -> tuple[Tensor, Tensor]:
    """Maps [K, 448, 448] and an image [3, 448, 448], the same each time."""
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.randn(1, 3, 40, 40, generator=random), size=(SIDE, SIDE), mode="bicubic")[0]
    return torch.rand(n_classes, SIDE, SIDE, generator=random), image


def _memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    maps, image = pictures(n_classes)
    before = most_resident()
    (plain if unfolded else refine)(maps, image)
    return before, most_resident()


def memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    """Megabytes of a process of its own: with its inputs, and at most."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_memory, (unfolded, n_classes))


def run() -> None:
    """CPU milliseconds on one thread, and megabytes."""
    torch.set_num_threads(1)
    times, peaks = [], []
    for n_classes in CLASSES:
        maps, image = pictures(n_classes)
        ours = cost(partial(refine, maps, image), runs=3).cpu
        row = [str(n_classes), f"{1e3 * ours:.0f}", "-", "-"]
        before, most = memory(False, n_classes)
        megabytes = [str(n_classes), f"{before:.0f}", f"{most:.0f}", "-"]
        if n_classes in UNFOLDED:
            theirs = cost(partial(plain, maps, image), runs=1).cpu
            row[2:] = [f"{1e3 * theirs:.0f}", f"{theirs / ours:.1f}x"]
            megabytes[3] = f"{memory(True, n_classes)[1]:.0f}"
        times.append(row)
        peaks.append(megabytes)
    what = f"PAMR, {SIDE} x {SIDE}, 10 iterations, 48 neighbours"
    print_table(f"{what}, CPU time", ["classes", "shifted views, ms", "unfolded, ms", "gain"], times)
    head = ["classes", "process with its inputs, MB", "shifted views at most, MB", "unfolded at most, MB"]
    print_table(f"{what}, resident memory", head, peaks)
