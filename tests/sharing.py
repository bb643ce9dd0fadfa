"""How the processes of pytest-xdist share the tests: by units, a folder each.

What a folder's helpers remember and its fixtures have started is made by one process alone. Files straight in
tests/integration and the like are units of their own: each has its own servers.

Where tests wait for servers, a browser or a cluster, their process leaves its core to another. If all waited at once,
cores would be idle; so one process at least takes such units and one at least takes others, the longest first, and both
kinds come to their end together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SECONDS = {  # about, of the longest, where three processes share two cores; no test depends on it
    "tests/integration/playground": 170,
    "tests/integration/bulk": 110,
    "tests/documents/test_documents.py": 80,
    "tests/integration/kubernetes": 53,
    "tests/service/fleet": 50,
    "tests/service/gateway/rpc": 45,
    "tests/model/methods/tcl": 40,
    "tests/model/methods/dense_clip": 39,
    "tests/model/export": 36,
    "tests/model/methods/tiny/training": 36,
    "tests/loadtests": 34,
    "tests/service/commands/bulk": 34,
    "tests/model/methods/s_seg": 32,
    "tests/model": 32,
    "tests/model/training": 30,
    "tests/integration/rest/test_schemathesis.py": 30,
    "tests/model/conformance": 27,
    "tests/model/methods/tcl/training": 26,
    "tests/service/gateway/rest": 22,
    "tests/benchmarks/device": 22,
    "tests/integration/rest/test_large_image.py": 20,
    "tests/service/worker": 20,
    "tests/integration/fleet/test_split.py": 20,
    "tests/service/commands/evaluate": 19,
    "tests/deploy/helm": 18,
    "tests/model/masks": 18,
    "tests/model/methods/unpair_seg/layers": 18,
    "tests/service/commands/segment": 18,
    "tests/documents/test_pictures.py": 17,
    "tests/integration/adapters": 17,
    "tests/integration/fleet/test_monitoring.py": 17,
    "tests/service/commands/models": 17,
    "tests/clients/rest": 15,
    "tests/model/evaluation/benchmarks": 15,
    "tests/integration/methods": 14,
    "tests/clients/rpc": 12,
    "tests/integration/test_redis.py": 11,
}
OTHERS = 3  # seconds
BY_FILE = (
    "tests/documents",
    "tests/integration",
    "tests/integration/fleet",
    "tests/integration/rest",
    "tests/integration/serve",
)
WAITING = (
    "tests/clients/rest",
    "tests/clients/rpc",
    "tests/deploy/helm",
    "tests/documents/test_documents.py",
    "tests/integration/bulk",
    "tests/integration/fleet/test_monitoring.py",
    "tests/integration/kubernetes",
    "tests/integration/playground",
    "tests/integration/rest/test_large_image.py",
    "tests/integration/rest/test_schemathesis.py",
    "tests/integration/shared_state",
    "tests/integration/test_redis.py",
    "tests/service/fleet",
    "tests/service/gateway/rest",
    "tests/service/gateway/rpc",
    "tests/service/image",
    "tests/service/wire",
    "tests/service/worker/rpc",
)


def unit_of(nodeid: str) -> str:
    """What a test shares a process with: its file or its folder."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return file if folder in BY_FILE else folder


def seconds_of(units: Iterable[str]) -> int:
    """How long one process would be at work on them."""
    return sum(SECONDS.get(unit, OTHERS) for unit in units)


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests by their units, the longest first, else as they come."""
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        units.setdefault(unit_of(item.nodeid), []).append(item)
    return [item for unit in sorted(units, key=lambda unit: -seconds_of([unit])) for item in units[unit]]


def next_unit(left: Iterable[str], others: Sequence[bool]) -> str:
    """What a process takes next: of the kind that nobody else does, or that there is more left of; the first of it.

    Args:
        left: units in their order; at least one.
        others: of each other process that is at work, whether it waits.
    """
    units = list(left)
    waiting = [unit for unit in units if unit in WAITING]
    computing = [unit for unit in units if unit not in WAITING]
    if waiting and computing and True in others and False in others:
        return max(waiting, computing, key=seconds_of)[0]
    return ((computing if True in others else waiting) or units)[0]


class ByUnit(LoadScopeScheduling):
    """Gives the next unit to the process that is free first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        units = [
            [unit for unit, done in theirs.items() if not all(done.values())]
            for other, theirs in self.assigned_work.items()
            if other is not node
        ]
        others = [any(unit in WAITING for unit in theirs) for theirs in units if theirs]
        self.workqueue.move_to_end(next_unit(self.workqueue, others), last=False)
        super()._assign_work_unit(node)
