"""Thousands of requests, 30 percent of them invalid, from clients that hang up at any moment."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from loadtests.chaos.__main__ import check
from loadtests.chaos.honest import Honest
from loadtests.chaos.judge import Judge
from tests import pictures
from tests.integration.rest.bad_requests import BROKEN, REFUSED, segment
from tests.integration.server import Server, form
from tests.waiting import soon

UNTIL_STEADY = 800  # requests
ROUND, ROUNDS = 1_600, 3  # memory that is taken once is no leak; a leak grows in every round
CLIENTS = 16  # fewer than the queue holds: nobody is refused for the others' sake
BAD, BROKEN_OF_BAD, HANGS_UP = 0.3, 0.3, 0.1
MAY_GROW = 40 * 2**20  # bytes
AT_MOST = 120.0  # seconds for one answer, and for the last request in flight
OF_THE_OCCASION = ("id", "timings_ms", "cache")
SCENES = {"china": ["sky", "building"], "chelsea": ["cat", "sofa"], "rocket": ["rocket", "sea", "sky"]}
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"mask": "polygon"}, {"mask": "png", "overlay": True}, {"background": False})
GOOD = [
    segment(files=form(pictures.encoded(pictures.small(name, side)), *classes, **options))
    for (name, classes), options in ((scene, options) for scene in SCENES.items() for options in OPTIONS)
    for side in (40, 56)
]
GONE = 0  # the connection ended without an answer


class Answer(NamedTuple):
    """The status, GONE for none, and what of the body does not depend on the occasion."""

    status: int
    content: dict[str, Any]


class Client:
    """One connection, opened again whenever it is gone."""

    def __init__(self, server: Server) -> None:
        self._host, _, self._port = server.url.removeprefix("http://").partition(":")
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, *, is_last: bool = False) -> Answer:
        """The answer; after the last request no more are sent on this connection."""
        return await asyncio.wait_for(self._ask(request, is_last), AT_MOST)

    async def hang_up(self, request: bytes, chance: random.Random) -> None:
        """Leaves in the middle of the request or before all of the answer is read, with or without a goodbye."""
        _, writer = await self._open()
        in_the_middle = chance.random() < 0.5
        writer.write(request[: chance.randrange(len(request))] if in_the_middle else request)
        await asyncio.sleep(chance.choice([0, 0.001, 0.01, 0.05]))
        if chance.random() < 0.5:
            writer.transport.abort()
        await self.close()

    async def close(self) -> None:
        if self._stream is not None:
            _, writer = self._stream
            self._stream = None
            writer.close()
            with contextlib.suppress(OSError):  # the server was faster
                await asyncio.wait_for(writer.wait_closed(), AT_MOST)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is None:
            self._stream = await asyncio.open_connection(self._host, int(self._port), limit=2**20)
        return self._stream

    async def _ask(self, request: bytes, is_last: bool) -> Answer:
        reader, writer = await self._open()
        try:
            writer.write(request)
            if is_last:
                writer.write_eof()
            answer, stays = await self._answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            answer, stays = Answer(GONE, {}), False
        if is_last or not stays:
            await self.close()
        return answer

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        """The answer, and whether the connection is good for another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        content = json.loads(body) if "json" in headers.get("content-type", "") else {}
        lasting = {name: value for name, value in content.items() if name not in OF_THE_OCCASION}
        return Answer(status, lasting), headers.get("connection") != "close"


class Crowd:
    """Clients that take turns through numbered requests; each number is always the same request."""

    def __init__(self, server: Server, alone: list[Answer]) -> None:
        self._server = server
        self._alone = alone
        self.statuses: Counter[str] = Counter()
        self.surprises: list[str] = []

    async def ask(self, first: int, last: int) -> None:
        numbers = iter(range(first, last))
        await asyncio.gather(*(self._take_turns(numbers) for _ in range(CLIENTS)))

    async def _take_turns(self, numbers: Iterator[int]) -> None:
        client = Client(self._server)
        for number in numbers:
            await self._one(client, random.Random(number))
        await client.close()

    async def _one(self, client: Client, chance: random.Random) -> None:
        is_bad, is_broken = chance.random() < BAD, chance.random() < BROKEN_OF_BAD
        which = chance.randrange(len(GOOD))
        request = chance.choice(BROKEN if is_broken else REFUSED)(chance) if is_bad else GOOD[which]
        if chance.random() < HANGS_UP:
            await client.hang_up(request, chance)
            self.statuses["hung up"] += 1
            return
        # Half of what is no HTTP would leave the server waiting for the rest; nor is any of it good for a sequel.
        answer = await client.ask(request, is_last=is_bad and (is_broken or b"Expect:" in request))
        self.statuses[f"{'bad' if is_bad else 'good'} {answer.status}"] += 1
        if not is_bad:
            right = answer == self._alone[which]
        elif is_broken:
            right = answer.status < 500
        else:
            right = 400 <= answer.status < 500
        if not right:
            self.surprises.append(f"{request[:300]!r}...: {answer}")


def resident_bytes(server: Server) -> int:
    """Of the gateway and the worker."""
    return sum(child.memory_info().rss for child in psutil.Process(server.process.pid).children())


async def nothing_in_flight(server: Server) -> None:
    await soon(lambda: not server.metric("lexiseg_inflight"), AT_MOST)


@pytest.mark.slow
async def test_bad_requests_and_clients_that_leave_hurt_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Server(log, LEXISEG_DEADLINE_SECONDS="600", LEXISEG_STATE_DIR=str(tmp_path / "state")) as server:
        client = Client(server)
        alone = [await client.ask(request) for request in GOOD]
        await client.close()
        crowd = Crowd(server, alone)

        await crowd.ask(0, UNTIL_STEADY)
        asked = UNTIL_STEADY
        for _ in range(ROUNDS):
            steady = resident_bytes(server)
            await crowd.ask(asked, asked + ROUND)
            await nothing_in_flight(server)
            asked += ROUND
            grown = resident_bytes(server) - steady
            if grown < MAY_GROW:
                break
        status = server.process.poll()

    assert {answer.status for answer in alone} == {200}
    assert crowd.surprises == []
    assert crowd.statuses.total() == asked
    assert status is None
    assert grown < MAY_GROW, f"{grown / 2**20:.1f} MiB more"
    assert [line for line in log.read_text().splitlines() if '"level": "error"' in line or "Traceback" in line] == []


async def test_the_service_answers_as_stored(server: Server) -> None:
    await check(Honest(server.url, server.grpc, "unneeded", Judge()))
