"""PAMR compiled, against shifted views, band by band, and these against the plain formulation that unfolds every
neighbourhood.

Time on one thread, and the largest resident memory of a process that does nothing else.
"""

from __future__ import annotations

import multiprocessing
import time
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import cost, print_table
from benchmarks.kernel import numpy_alone
from benchmarks.memory import max_resident
from lexiseg_model.masks.pamr import NEIGHBOURS, PamrSettings, affinity, refine

SIDE = 448
CLASSES = (5, 20, 150)
UNFOLDED = (5, 20)  # with 150 it holds eleven gigabytes
SETTINGS = PamrSettings()
TURNS = {(144, 192): {1: 15, 5: 15, 20: 9, 48: 9}, (SIDE, SIDE): {5: 9, 20: 9, 150: 5}}  # guides, maps: turns


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


def pictures(n_classes: int, size: tuple[int, int] = (SIDE, SIDE)) -> tuple[Tensor, Tensor]:
    """Maps [K, H, W] and an image [3, H, W], the same each time."""
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.randn(1, 3, 40, 40, generator=random), size=size, mode="bicubic")[0]
    return torch.rand(n_classes, *size, generator=random), image


def _memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    maps, image = pictures(n_classes)
    before = max_resident()
    with numpy_alone():
        (plain if unfolded else refine)(maps, image)
    return before, max_resident()


def memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    """Megabytes of a process of its own: with its inputs, and at most."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_memory, (unfolded, n_classes))


def _spent(maps: Tensor, image: Tensor) -> tuple[float, Tensor]:
    """CPU milliseconds of a turn, and the refined maps."""
    began = time.process_time()
    refined = refine(maps, image)
    return 1e3 * (time.process_time() - began), refined


def compiled() -> None:
    """The kernel and shifted views in turns: medians, and the least and the most gain of a turn."""
    rows = []
    for size, crowds in TURNS.items():
        for n_maps, turns in crowds.items():
            maps, image = pictures(n_maps, size)
            ours, theirs, apart = [], [], 0.0
            for _ in range(turns + 1):
                spent, refined = _spent(maps, image)
                ours.append(spent)
                with numpy_alone():
                    spent, expected = _spent(maps, image)
                theirs.append(spent)
                apart = max(apart, float((refined - expected).abs().max()))
            ours, theirs = ours[1:], theirs[1:]  # the first turn warms up
            gains = [their / our for our, their in zip(ours, theirs, strict=True)]
            times = [f"{median(ours):.1f}", f"{median(theirs):.0f}"]
            gain = f"{median(gains):.1f}x ({min(gains):.1f}, {max(gains):.1f})"
            rows.append([f"{size[1]} x {size[0]}", str(n_maps), *times, gain, f"{apart:.1e}"])
    head = ["guide", "maps", "compiled, ms", "shifted views, ms", "gain", "maps differ by"]
    print_table("PAMR, compiled, in turns with shifted views, CPU time", head, rows)


def shifted() -> None:
    """Shifted views against unfolded neighbourhoods."""
    times, peaks = [], []
    for n_classes in CLASSES:
        maps, image = pictures(n_classes)
        with numpy_alone():
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


def run() -> None:
    """CPU milliseconds on one thread, and megabytes."""
    torch.set_num_threads(1)
    compiled()
    shifted()
