"""The clock that looks at connections, on an event loop whose time a test tells."""

from __future__ import annotations

import asyncio

import pytest

from lexiseg_service.gateway.rest.http1.connections import LOOK_SECONDS, Connections
from lexiseg_service.settings import Settings


class Seen:
    """A connection that remembers what each look at it counted."""

    idle = False

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def look(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def leave(self) -> None: ...

    def give_up(self) -> None: ...

    def close_idle(self) -> None: ...


class Clock:
    """Of the running loop; `asked` counts the looks that are to come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.now, self.asked = 100.0, 0
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        monkeypatch.setattr(self.loop, "call_later", self._ask)

    def _ask(self, *_: object) -> None:
        self.asked += 1


async def test_what_passed_before_a_connection_came_is_none_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, connections = Clock(monkeypatch), Connections(Settings())
    early, late = Seen(), Seen()
    connections.add(early, "one")

    clock.now += 10.0  # in which the process stood still
    connections.add(late, "one")
    clock.now += 0.125
    connections._look(clock.loop)
    clock.now += LOOK_SECONDS
    connections._look(clock.loop)

    assert early.seconds == [2 * LOOK_SECONDS, LOOK_SECONDS]
    assert late.seconds == [0.125, LOOK_SECONDS]


async def test_there_is_one_look_at_all_however_often_connections_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, connections = Clock(monkeypatch), Connections(Settings())
    for _ in range(5):
        one = Seen()
        connections.add(one, "one")
        connections.remove(one)
    assert clock.asked == 1

    connections._look(clock.loop)  # nobody is there: no more looks
    assert clock.asked == 1
    connections.add(Seen(), "one")
    connections._look(clock.loop)

    assert clock.asked == 3
