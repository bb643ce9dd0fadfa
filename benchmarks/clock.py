"""Times of pieces of work over several runs, on the wall clock and on the process's CPU clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Cost(NamedTuple):
    """Seconds, medians."""

    wall: float
    cpu: float


def cost(work: Callable[[], object], runs: int = 5) -> Cost:
    """Runs once to warm up, then `runs` times."""
    work()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(statistics.median(walls), statistics.median(cpus))


def rounds(work: Sequence[Callable[[], object]], count: int, warm_ups: int = 1) -> NDArray[np.float64]:
    """Seconds [count, pieces of work, 2] on the wall clock and of CPU, after `warm_ups` runs of each piece.

    All pieces in each round: ratios within one hold when other programs use the cores.
    """
    for piece in work:
        for _ in range(warm_ups):
            piece()
    seconds = np.empty((count, len(work), 2))
    for row in seconds:
        for piece, spent in zip(work, row, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            piece()
            spent[:] = time.perf_counter() - wall, time.process_time() - cpu
    return seconds


def until_done(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """`work` to its end: a CUDA device does later what it is told, and torch returns at once."""

    def whole() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def spread(values: Sequence[float], digits: int) -> str:
    """The median of the rounds and their range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, ready for docs/performance.md."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
