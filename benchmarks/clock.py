"""Times of a piece of work: the median of several runs, on the wall clock and on the process's CPU clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


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


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, ready for docs/performance.md."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
