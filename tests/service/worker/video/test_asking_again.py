"""Who of those that found no room asks again, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lexiseg_service.worker.video.asking_again import AskingAgain
from tests.service.worker.video.streaming import all_of, frame, ids, question, soon, stream, working


class Asking:
    """Streams that ask, in the order in which they did; there is room for some of them."""

    def __init__(self) -> None:
        self.line = AskingAgain()
        self.order: list[str] = []
        self.room = 0

    def join(self, source: str, name: str) -> None:
        self.line.join(source, name, self._asker(source, name))

    def _asker(self, source: str, name: str) -> Callable[[], bool]:
        def ask() -> bool:
            self.order.append(name)
            if self.room:
                self.room -= 1
                return True
            self.join(source, name)
            return False

        return ask


async def test_while_there_is_no_room_one_of_each_client_asks_at_a_time() -> None:
    asking = Asking()
    for name in "abc":
        asking.join("key-1", name)
    asking.join("key-2", "x")

    await soon(lambda: len(asking.order) >= 8)

    assert asking.order[:8] == ["a", "x", "b", "x", "c", "x", "a", "x"]


async def test_who_finds_room_lets_the_next_ask_at_once() -> None:
    asking = Asking()
    for name in "abc":
        asking.join("key", name)
    asking.room = 2

    await soon(lambda: asking.order)

    assert asking.order == ["a", "b", "c"]
    assert asking.line.is_waiting("key")


async def test_who_has_left_asks_no_more() -> None:
    asking = Asking()
    asking.join("key", "a")
    asking.join("key", "b")
    asking.line.leave("key", "a")
    asking.line.leave("nobody", "a")
    asking.room = 1

    await soon(lambda: asking.order)

    assert asking.order == ["b"]
    assert not asking.line.is_waiting("key")


async def test_a_full_engine_is_asked_as_often_by_many_streams_as_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, asked = 0, 0
    look = AskingAgain._look

    def counted(line: AskingAgain) -> None:
        nonlocal looks
        looks += 1
        look(line)

    monkeypatch.setattr(AskingAgain, "_look", counted)
    with working(queue_limit=2) as worker:
        submit = worker.engine.submit

        def counting(*what: Any) -> Any:
            nonlocal asked
            asked += 1
            return submit(*what)

        monkeypatch.setattr(worker.engine, "submit", counting)
        worker.segmenter.gate.clear()
        async with AsyncExitStack() as streams:
            opened = [await streams.enter_async_context(stream(worker, question(), frame(0))) for _ in range(8)]
            answers = [asyncio.ensure_future(all_of(received)) for _, received in opened]
            await soon(lambda: worker.engine.in_flight == 2 and looks > 0)
            asked, seen = 0, looks
            await soon(lambda: looks >= seen + 12)

            assert asked <= looks - seen + 1
            worker.segmenter.gate.set()
            for sender, _ in opened:
                sender.end()
            assert [ids(received) for received in await asyncio.gather(*answers)] == [["0"]] * 8
