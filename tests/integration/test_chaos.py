"""Thousands of requests, 30 percent of them invalid, from clients that hang up at any moment."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtests.chaos.__main__ import check
from loadtests.chaos.honest import Honest
from loadtests.chaos.judge import Judge
from loadtests.plain_client import GONE, Connection, Response, read_response
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


def lasting(body: bytes) -> dict[str, Any]:
    """What of an answer does not depend on the occasion."""
    return {name: value for name, value in json.loads(body).items() if name not in OF_THE_OCCASION}


class Client(Connection):
    """A connection that may also be left in the middle."""

    async def ask_last(self, request: bytes) -> Response:
        """As `ask`; no more are sent on this connection."""
        try:
            reader, writer = await self.open()
            writer.write(request)
            writer.write_eof()
            return (await read_response(reader))[0]
        except (OSError, asyncio.IncompleteReadError):
            return Response(GONE)
        finally:
            self.close()

    async def hang_up(self, request: bytes, chance: random.Random) -> None:
        """Leaves in the middle of the request or before all of the answer is read, with or without a goodbye."""
        _, writer = await self.open()
        in_the_middle = chance.random() < 0.5
        writer.write(request[: chance.randrange(len(request))] if in_the_middle else request)
        await asyncio.sleep(chance.choice([0, 0.001, 0.01, 0.05]))
        if chance.random() < 0.5:
            writer.transport.abort()
        self.close()


class Crowd:
    """Clients that take turns through numbered requests; each number is always the same request."""

    def __init__(self, url: str, alone: list[dict[str, Any]]) -> None:
        self._url = url
        self._alone = alone
        self.statuses: Counter[str] = Counter()
        self.surprises: list[str] = []

    async def ask(self, first: int, last: int) -> None:
        numbers = iter(range(first, last))
        await asyncio.gather(*(self._take_turns(numbers) for _ in range(CLIENTS)))

    async def _take_turns(self, numbers: Iterator[int]) -> None:
        async with Client(self._url) as client:
            for number in numbers:
                await self._one(client, random.Random(number))

    async def _one(self, client: Client, chance: random.Random) -> None:
        is_bad, is_broken = chance.random() < BAD, chance.random() < BROKEN_OF_BAD
        which = chance.randrange(len(GOOD))
        request = chance.choice(BROKEN if is_broken else REFUSED)(chance) if is_bad else GOOD[which]
        if chance.random() < HANGS_UP:
            await client.hang_up(request, chance)
            self.statuses["hung up"] += 1
            return
        # Half of what is no HTTP would leave the server waiting for the rest; nor is any of it good for a sequel.
        is_last = is_bad and (is_broken or b"Expect:" in request)
        async with asyncio.timeout(AT_MOST):
            answer = await (client.ask_last(request) if is_last else client.ask(request))
        self.statuses[f"{'bad' if is_bad else 'good'} {answer.status}"] += 1
        if not is_bad:
            right = answer.status == 200 and lasting(answer.body) == self._alone[which]
        elif is_broken:
            right = answer.status < 500
        else:
            right = 400 <= answer.status < 500
        if not right:
            self.surprises.append(f"{request[:300]!r}...: {answer.status} {answer.body[:300]!r}")


def resident_bytes(server: Server) -> int:
    """Of the gateway and the worker."""
    return sum(child.memory_info().rss for child in psutil.Process(server.process.pid).children())


async def nothing_in_flight(server: Server) -> None:
    await soon(lambda: not server.metric("lexiseg_inflight"), AT_MOST)


@pytest.mark.slow
async def test_bad_requests_and_clients_that_leave_hurt_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Server(log, LEXISEG_DEADLINE_SECONDS="600", LEXISEG_STATE_DIR=str(tmp_path / "state")) as server:
        async with Client(server.url) as client:
            alone = [lasting((await client.ask(request)).body) for request in GOOD]
        crowd = Crowd(server.url, alone)

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

    assert all("segments" in answer for answer in alone)
    assert crowd.surprises == []
    assert crowd.statuses.total() == asked
    assert status is None
    assert grown < MAY_GROW, f"{grown / 2**20:.1f} MiB more"
    assert [line for line in log.read_text().splitlines() if '"level": "error"' in line or "Traceback" in line] == []


async def test_the_service_answers_as_stored(server: Server) -> None:
    await check(Honest(server.url, server.grpc, "unneeded", Judge()))
