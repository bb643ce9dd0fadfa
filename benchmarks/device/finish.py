"""Arg-max and RLE of class scores on a device, against the CPU."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.device.workload import Workload
from benchmarks.finish import CASES, smooth_scores
from benchmarks.serving import MIN_EQUAL
from benchmarks.timing import median_and_range, print_table, rounds, synchronised
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners
from lexiseg_model.types import Rle


def class_rles(scores: Tensor, size: tuple[int, int]) -> list[Rle]:
    """One RLE per class at image size (height, width), from scores [K, h, w]."""
    return encode_label_map(winners(scores, size).labels, len(scores))


def finish(device: torch.device, workload: Workload) -> None:
    """Print wall-clock milliseconds for two image sizes."""
    rows = []
    for n_classes, grid, size, _ in CASES[:2]:
        cpu_scores = smooth_scores(n_classes, grid)
        device_scores = cpu_scores.to(device)
        equal = float(np.mean(winners(device_scores, size).labels == winners(cpu_scores, size).labels))
        assert equal >= MIN_EQUAL, f"arg-max: only {100 * equal:.3f} % of the labels equal the CPU's"
        work = [synchronised(partial(class_rles, scores, size), device) for scores in (device_scores, cpu_scores)]
        milliseconds = 1e3 * rounds(work, workload.rounds, workload.warm_ups)[:, :, 0].T
        times = [median_and_range(column.tolist(), 2) for column in milliseconds]
        rows.append([f"{size[1]} x {size[0]}", str(n_classes), *times, f"{100 * equal:.3f} %"])
    head = ["image", "classes", "scores on the device, ms", "scores on the CPU, ms", "labels equal"]
    print_table(f"Arg-max and RLE, {workload.rounds} rounds", head, rows)
