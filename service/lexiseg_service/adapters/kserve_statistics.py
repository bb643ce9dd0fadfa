"""Triton's statistics extension: what this gateway's inferences by the protocol took, by model."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lexiseg_labels.answers import Timings

NS_PER_MS = 1_000_000
# Triton's names of durations, and the stages that are in each.
STAGES = {
    "queue": ("queue",),
    "compute_input": ("decode", "text"),
    "compute_infer": ("image",),
    "compute_output": ("post",),
}
KINDS = ("success", "fail", *STAGES)
Key = tuple[str, str]  # name and version of a model


class Statistics:
    """Counts since the gateway started. The timings of a worker are those of the stages, success is the whole call."""

    def __init__(self) -> None:
        self._counts: defaultdict[Key, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
        self._ns: defaultdict[Key, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
        self._last: dict[Key, int] = {}  # milliseconds since 1970

    @contextmanager
    def counted(self, card: Mapping[str, Any]) -> Iterator[Callable[[Timings], None]]:
        """Count an inference of a model; it fails unless its timings are handed over before the end."""
        key, began = (card["name"], card["version"]), time.perf_counter_ns()
        timings: list[Timings] = []
        try:
            yield timings.append
        finally:
            self._add(key, "success" if timings else "fail", time.perf_counter_ns() - began)
            self._last[key] = time.time_ns() // NS_PER_MS
            for each in timings:
                for kind, stages in STAGES.items():
                    self._add(key, kind, round(NS_PER_MS * sum(getattr(each, stage) for stage in stages)))

    def _add(self, key: Key, kind: str, ns: int) -> None:
        self._counts[key][kind] += 1
        self._ns[key][kind] += ns

    def entry(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """A model's entry in `model_stats`."""
        key = (card["name"], card["version"])
        counts, ns = self._counts[key], self._ns[key]
        return {
            "name": card["name"],
            "version": card["version"],
            "last_inference": self._last.get(key, 0),
            "inference_count": counts["success"],
            "execution_count": counts["success"],
            "inference_stats": {kind: {"count": counts[kind], "ns": ns[kind]} for kind in KINDS},
        }
