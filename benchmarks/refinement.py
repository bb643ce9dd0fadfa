"""PAMR refinement: the kernel against numpy's shifted views, and these against unfolded neighbourhoods.

Measures CPU time on one thread, and peak resident memory in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernel import kernel_disabled
from benchmarks.timing import cost, print_table
from lexiseg_model.masks.pamr import NEIGHBOURS, PamrSettings, affinity, refine

SIDE = 448
CLASSES = (5, 20, 150)
UNFOLDED = (5, 20)  # 150 classes would need 11 GB
SETTINGS = PamrSettings()
ROUNDS = {(144, 192): {1: 15, 5: 15, 20: 9, 48: 9}, (SIDE, SIDE): {5: 9, 20: 9, 150: 5}}  # guide size -> maps -> rounds


def plain(maps: Tensor, image: Tensor) -> Tensor:
    """PAMR that copies every map once per neighbour in each iteration."""
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
    """Random maps [K, H, W] and an image [3, H, W], from a fixed seed."""
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.randn(1, 3, 40, 40, generator=random), size=size, mode="bicubic")[0]
    return torch.rand(n_classes, *size, generator=random), image


def max_resident() -> float:
    """Peak resident memory of this process in MiB. Not `ru_maxrss`, which a child inherits from its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    maps, image = pictures(n_classes)
    before = max_resident()
    with kernel_disabled():
        (plain if unfolded else refine)(maps, image)
    return before, max_resident()


def memory(unfolded: bool, n_classes: int) -> tuple[float, float]:
    """MiB of a fresh process: with its inputs, and at peak."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_memory, (unfolded, n_classes))


def _timed_refine(maps: Tensor, image: Tensor) -> tuple[float, Tensor]:
    """CPU milliseconds of a refinement, and the refined maps."""
    start = time.process_time()
    refined = refine(maps, image)
    return 1e3 * (time.process_time() - start), refined


def compiled() -> None:
    """Compare the kernel with shifted views, alternately: medians, and the range of the gain over rounds."""
    rows = []
    for size, rounds_by_maps in ROUNDS.items():
        for n_maps, rounds in rounds_by_maps.items():
            maps, image = pictures(n_maps, size)
            kernel_times, view_times, max_difference = [], [], 0.0
            for _ in range(rounds + 1):
                elapsed, refined = _timed_refine(maps, image)
                kernel_times.append(elapsed)
                with kernel_disabled():
                    elapsed, expected = _timed_refine(maps, image)
                view_times.append(elapsed)
                max_difference = max(max_difference, float((refined - expected).abs().max()))
            kernel_times, view_times = kernel_times[1:], view_times[1:]  # the first round warms up
            gains = [views / kernel for kernel, views in zip(kernel_times, view_times, strict=True)]
            times = [f"{median(kernel_times):.1f}", f"{median(view_times):.0f}"]
            gain = f"{median(gains):.1f}x ({min(gains):.1f}, {max(gains):.1f})"
            rows.append([f"{size[1]} x {size[0]}", str(n_maps), *times, gain, f"{max_difference:.1e}"])
    head = ["guide", "maps", "compiled, ms", "shifted views, ms", "gain", "max difference"]
    print_table("PAMR, compiled against shifted views, CPU time", head, rows)


def shifted() -> None:
    """Compare shifted views with unfolded neighbourhoods: CPU time and peak memory."""
    times, peaks = [], []
    for n_classes in CLASSES:
        maps, image = pictures(n_classes)
        with kernel_disabled():
            views = cost(partial(refine, maps, image), runs=3).cpu
        row = [str(n_classes), f"{1e3 * views:.0f}", "-", "-"]
        inputs, peak = memory(False, n_classes)
        megabytes = [str(n_classes), f"{inputs:.0f}", f"{peak:.0f}", "-"]
        if n_classes in UNFOLDED:
            unfolded = cost(partial(plain, maps, image), runs=1).cpu
            row[2:] = [f"{1e3 * unfolded:.0f}", f"{unfolded / views:.1f}x"]
            megabytes[3] = f"{memory(True, n_classes)[1]:.0f}"
        times.append(row)
        peaks.append(megabytes)
    title = f"PAMR, {SIDE} x {SIDE}, 10 iterations, 48 neighbours"
    print_table(f"{title}, CPU time", ["classes", "shifted views, ms", "unfolded, ms", "gain"], times)
    head = ["classes", "process with inputs, MB", "shifted views, peak MB", "unfolded, peak MB"]
    print_table(f"{title}, resident memory", head, peaks)


def run() -> None:
    """Print CPU milliseconds on one thread, and peak memory."""
    torch.set_num_threads(1)
    compiled()
    shifted()
