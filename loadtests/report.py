"""The report of a load test as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.stats import RequestStats, StatsEntry

PERCENTILES = {"median_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
ANSWERED_PREFIXES = ("/segment", "SegmentVideo frame")  # of request names: answers about images, about frames


def fewest_answers(stats: RequestStats, with_streams: bool) -> int:
    """The number of answers about images or, with streams, about frames, whichever is smaller."""
    prefixes = ANSWERED_PREFIXES if with_streams else ANSWERED_PREFIXES[:1]
    named = [(entry.name, entry.num_requests) for entry in stats.entries.values()]
    return min(sum(count for name, count in named if name.startswith(prefix)) for prefix in prefixes)


class Checked:
    """Numbers of checked and of wrong answers."""

    def __init__(self) -> None:
        self.answers = 0
        self.wrong = 0

    def note(self, fault: str | None) -> None:
        """Count a checked answer; None: it is right."""
        self.answers += 1
        self.wrong += fault is not None

    def add(self, answers: int, wrong: int) -> None:
        """Add the numbers of another process."""
        self.answers += answers
        self.wrong += wrong


def content(environment: Environment, checked: Checked, options: Mapping[str, Any]) -> dict[str, Any]:
    """The report's JSON: times in milliseconds, rates per second; `options` are those of the load."""
    stats = environment.stats
    entries = sorted(stats.entries.values(), key=lambda entry: (entry.method, entry.name))
    return {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": environment.host,
        "options": dict(options),
        "requests": [_row(entry) for entry in entries],
        "checked": {"answers": checked.answers, "wrong": checked.wrong},
        "errors": [
            {"name": error.name, "error": str(error.error), "occurrences": error.occurrences}
            for error in stats.errors.values()
        ],
    }


def _row(entry: StatsEntry) -> dict[str, Any]:
    return {
        "type": entry.method,
        "name": entry.name,
        "count": entry.num_requests,
        "failures": entry.num_failures,
        "per_second": round(entry.total_rps, 2),
        **{name: entry.get_response_time_percentile(share) for name, share in PERCENTILES.items()},
        "max_ms": round(entry.max_response_time, 1),
    }


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report as JSON with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
