"""Time functions by wall clock and CPU clock, and print tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Cost(NamedTuple):
    """Median seconds of a function."""

    wall: float
    cpu: float


def cost(work: Callable[[], object], runs: int = 5) -> Cost:
    """Median time of `runs` calls after one warm-up call."""
    work()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(statistics.median(walls), statistics.median(cpus))


def rounds(work: Sequence[Callable[[], object]], count: int, warm_ups: int = 1) -> NDArray[np.float64]:
    """Time functions alternately, so that ratios within a round hold on a busy machine.

    Args:
        work: called once each in every round.
        count: number of rounds.
        warm_ups: calls of each function before the rounds.

    Returns:
        Seconds [count, len(work), 2]: wall clock, CPU.
    """
    for function in work:
        for _ in range(warm_ups):
            function()
    seconds = np.empty((count, len(work), 2))
    for row in seconds:
        for function, elapsed in zip(work, row, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            elapsed[:] = time.perf_counter() - wall, time.process_time() - cpu
    return seconds


def synchronised(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """`work` followed by a wait for the device: kernels of a GPU run asynchronously."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    return run


def median_and_range(values: Sequence[float], digits: int) -> str:
    """Format values as `median (min to max)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table, ready for docs/performance.md."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
