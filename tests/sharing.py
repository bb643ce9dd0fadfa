"""How the processes of pytest-xdist share the tests: by units, a folder each.

What a folder's helpers remember and its fixtures have started is made by one process alone. Files straight in
tests/integration and the like are units of their own: each has its own servers. Where tests wait for servers, a
browser or a cluster, another process has something to compute: such units are spread over the whole run, and the
longest of them begin it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

LONGEST = ("tests/documents/test_documents.py", "tests/integration/playground")
BY_FILE = ("tests/documents", "tests/integration", "tests/integration/fleet", "tests/integration/rest")
WAITING = ("tests/documents", "tests/examples", "tests/integration", "tests/loadtests")  # and all below


def unit_of(nodeid: str) -> str:
    """What a test shares a process with: its file or its folder."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return file if folder in BY_FILE else folder


def in_turn(units: Iterable[str]) -> list[str]:
    """The longest, then those that wait at even distances among those that compute; else as they come."""
    there = list(units)
    first = [unit for unit in LONGEST if unit in there]
    rest = [unit for unit in there if unit not in first]
    waiting = [unit for unit in rest if any(f"{unit}/".startswith(f"{folder}/") for folder in WAITING)]
    computing = [unit for unit in rest if unit not in waiting]
    places = {unit: (index + 0.5) / len(kind) for kind in (waiting, computing) for index, unit in enumerate(kind)}
    return first + sorted(rest, key=lambda unit: places[unit])


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests by their units, in turn."""
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        units.setdefault(unit_of(item.nodeid), []).append(item)
    return [item for unit in in_turn(units) for item in units[unit]]


class ByUnit(LoadScopeScheduling):
    """Gives the next unit to the process that is free first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
