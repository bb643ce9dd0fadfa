"""Attackers in their own process, and the times of a modest client and of probes meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

from loadtests.bystander import bystander
from loadtests.plain_client import GONE, Answered, Connection, got

PROBE_SECONDS = 0.1  # for every probe, beyond the time of an idle process
PAUSE = 0.05  # between probes
MAX_PAUSE = 30.0
WAIT_FOR_THE_LAST = 60.0  # seconds
OK, REFUSED, TOO_LATE = 200, 429, 504
TO_COME_AGAIN = (GONE, REFUSED, 503)


@dataclass(frozen=True)
class Load:
    """What the attacking process sends: the requests of each client, one after another or at a rate."""

    url: str
    clients: tuple[Iterable[bytes], ...]
    seconds: float
    per_second: float | None = None  # an open loop over all clients; None: each client waits for its answer


@dataclass
class Seen:
    """Answers of one kind of client."""

    answers: list[Answered] = field(default_factory=list)

    def note(self, answer: Answered) -> None:
        """One more."""
        self.answers.append(answer)

    def count(self, status: int) -> int:
        """How many had it."""
        return sum(answer.status == status for answer in self.answers)

    def milliseconds(self, share: float) -> float | None:
        """A quantile of the times of what was answered with 200; None where nothing was."""
        times = sorted(answer.seconds for answer in self.answers if answer.status == OK)
        return round(1e3 * times[min(len(times) - 1, int(share * len(times)))], 1) if times else None

    def figures(self) -> dict[str, Any]:
        """For the report; times in milliseconds."""
        statuses = Counter(str(answer.status) if answer.status != GONE else "gone" for answer in self.answers)
        return {"answers": dict(statuses), "p50": self.milliseconds(0.5), "p99": self.milliseconds(0.99)}


def endless(requests: Iterable[bytes]) -> Iterator[bytes]:
    """All of them, then all of them again."""
    while True:
        yield from requests


async def ask_in_turn(url: str, requests: Iterable[bytes], until: float, seen: Seen) -> None:
    """One client: the next request when the last is answered, and when one that came too soon may come again."""
    async with Connection(url) as connection:
        for request in endless(requests):
            if time.perf_counter() >= until:
                return
            answer = await connection.ask(request)
            seen.note(answer)
            if answer.status in TO_COME_AGAIN:
                await asyncio.sleep(max(0.0, min(answer.retry_after, MAX_PAUSE, until - time.perf_counter())))


async def ask_once(url: str, requests: Iterable[bytes], count: int) -> None:
    """The first of them, whatever comes of it."""
    async with Connection(url) as connection:
        for request in itertools.islice(requests, count):
            await connection.ask(request)


async def ask_at_a_rate(url: str, clients: Sequence[Iterable[bytes]], rate: float, seconds: float, seen: Seen) -> None:
    """An open loop: requests at a rate, of the clients in round robin, however many are unanswered."""
    requests = [endless(client) for client in clients]
    began = time.perf_counter()
    idle: list[Connection] = []

    async def one(request: bytes) -> None:
        connection = idle.pop() if idle else Connection(url)
        seen.note(await connection.ask(request))
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(one(next(requests[number % len(requests)])))
    for connection in idle:
        connection.close()


async def probe(url: str, until: float, seen: Seen) -> None:
    """Asks whether the service lives, again and again."""
    paths = itertools.cycle([got("/livez"), got("/readyz")])
    async with Connection(url) as connection:
        while time.perf_counter() < until:
            seen.note(await connection.ask(next(paths)))
            await asyncio.sleep(PAUSE)


def attack(load: Load, pipe: Pipe) -> None:
    """The attacking process: says when it has begun, and at the end what it saw."""
    seen = Seen()

    async def go() -> None:
        pipe.send(None)
        if load.per_second is not None:
            await ask_at_a_rate(load.url, load.clients, load.per_second, load.seconds, seen)
            return
        until = time.perf_counter() + load.seconds
        asking = (ask_in_turn(load.url, client, until, seen) for client in load.clients)
        await asyncio.gather(*asking)

    asyncio.run(go())
    pipe.send(seen)


@contextmanager
def attacked(load: Load | None) -> Iterator[list[Seen]]:
    """Run an attack during the block; afterwards the list holds the answers of its clients."""
    result: list[Seen] = []
    if load is None:
        yield result
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=attack, args=(load, theirs), daemon=True)
    process.start()
    ours.recv()
    yield result
    if ours.poll(load.seconds + WAIT_FOR_THE_LAST):
        result.append(ours.recv())
    process.join(1)
    process.kill()


def measured(url: str, clients: Sequence[Iterable[bytes]], seconds: float, load: Load | None) -> dict[str, Seen]:
    """What modest clients, probes and attackers saw, and probes of a process that does nothing else."""
    modest, probes, idle = Seen(), Seen(), Seen()

    async def go() -> None:
        if load is not None:
            await asyncio.sleep(1.0)  # the attack is under way
        until = time.perf_counter() + seconds
        asking = (ask_in_turn(url, requests, until, modest) for requests in clients)
        await asyncio.gather(*asking, probe(url, until, probes), probe(aside, until, idle))

    with bystander() as aside, attacked(load) as attackers:
        asyncio.run(go())
    return {
        "modest": modest,
        "probes": probes,
        "bystander": idle,
        "attackers": attackers[0] if attackers else Seen(),
    }


def late_probes(probes: Seen, bystander: Seen) -> dict[str, bool]:
    """Whether probes were answered late, beyond what the machine let any process wait."""
    late, machine = probes.milliseconds(0.99), bystander.milliseconds(0.99) or 0.0
    if late is None:
        return {"no probe was answered": True}
    return {f"probes took {late} ms, {machine} ms of an idle process": late > 1e3 * PROBE_SECONDS + machine}
