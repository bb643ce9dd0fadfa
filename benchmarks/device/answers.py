"""From class scores on a device to labels and run lengths."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.clock import print_table, rounds, spread, until_done
from benchmarks.device.extent import Extent
from benchmarks.finish import CASES, smooth_scores
from benchmarks.serving import MIN_EQUAL
from lexiseg_model.masks.rle import encode_label_map, encode_label_runs
from lexiseg_model.masks.upsample import winners
from lexiseg_model.types import Rle


def answer(scores: Tensor, size: tuple[int, int]) -> list[Rle]:
    """Run lengths of every class at the size of an image, from scores [K, h, w]."""
    won = winners(scores, size)
    return encode_label_map(won.labels, len(scores)) if won.runs is None else encode_label_runs(won.runs, len(scores))


def answers(device: torch.device, extent: Extent) -> None:
    """Prints milliseconds, on the wall clock, of two images of a camera."""
    rows = []
    for n_classes, grid, size, _ in CASES[:2]:
        here = smooth_scores(n_classes, grid)
        there = here.to(device)
        equal = float(np.mean(winners(there, size).labels == winners(here, size).labels))
        assert equal >= MIN_EQUAL, f"arg-max: {100 * equal:.3f} % of the pixels have the label that the CPU gives them"
        work = [until_done(partial(answer, scores, size), device) for scores in (there, here)]
        milliseconds = 1e3 * rounds(work, extent.rounds, extent.warm_ups)[:, :, 0].T
        times = [spread(each.tolist(), 2) for each in milliseconds]
        rows.append([f"{size[1]} x {size[0]}", str(n_classes), *times, f"{100 * equal:.3f} %"])
    head = ["image", "classes", "scores on the device, ms", "scores on the CPU, ms", "labels equal"]
    print_table(f"Arg-max and run lengths, {extent.rounds} rounds", head, rows)
