"""Hostile load from a process of its own, and response times of a modest client and of health probes meanwhile."""

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
from loadtests.plain_client import GONE, Connection, Response, got

MAX_PROBE_SECONDS = 0.1  # p99 of a probe, beyond that of an idle process
PROBE_PAUSE = 0.05  # seconds between probes
MAX_PAUSE = 30.0  # seconds before a retry
DRAIN_SECONDS = 60.0  # for the attackers' last responses
OK, REFUSED, TOO_LATE = 200, 429, 504
RETRYABLE = (GONE, REFUSED, 503)


@dataclass(frozen=True)
class Load:
    """What the attacking process sends: the requests of each client, one after another or at a rate."""

    url: str
    clients: tuple[Iterable[bytes], ...]
    seconds: float
    per_second: float | None = None  # open loop over all clients; None: each client waits for its response


@dataclass
class ResponseLog:
    """Responses to one kind of client, without their bodies."""

    responses: list[Response] = field(default_factory=list)

    def add(self, response: Response) -> None:
        """Log a response."""
        self.responses.append(response._replace(body=b""))

    def count(self, status: int) -> int:
        """Number of responses with a status."""
        return sum(response.status == status for response in self.responses)

    def milliseconds(self, share: float) -> float | None:
        """A quantile (0 to 1) of the times of responses with status 200; None if there are none."""
        times = sorted(response.seconds for response in self.responses if response.status == OK)
        return round(1e3 * times[min(len(times) - 1, int(share * len(times)))], 1) if times else None

    def figures(self) -> dict[str, Any]:
        """Counts by status, median and p99 in milliseconds, for the report."""
        statuses = Counter("gone" if response.status == GONE else str(response.status) for response in self.responses)
        return {"answers": dict(statuses), "p50": self.milliseconds(0.5), "p99": self.milliseconds(0.99)}


def endless(requests: Iterable[bytes]) -> Iterator[bytes]:
    """Repeat requests for ever; a `WithSerial` makes other ones each time."""
    while True:
        yield from requests


async def ask_in_turn(url: str, requests: Iterable[bytes], until: float, log: ResponseLog) -> None:
    """Closed loop: one client sends its next request after the last response, or after a refusal's Retry-After."""
    async with Connection(url) as connection:
        for request in endless(requests):
            if time.perf_counter() >= until:
                return
            response = await connection.ask(request)
            log.add(response)
            if response.status in RETRYABLE:
                await asyncio.sleep(max(0.0, min(response.retry_after, MAX_PAUSE, until - time.perf_counter())))


async def ask_once(url: str, requests: Iterable[bytes], count: int) -> None:
    """Send the first `count` requests and ignore the responses."""
    async with Connection(url) as connection:
        for request in itertools.islice(requests, count):
            await connection.ask(request)


async def ask_at_a_rate(
    url: str, clients: Sequence[Iterable[bytes]], rate: float, seconds: float, log: ResponseLog
) -> None:
    """Open loop: `rate` requests a second, of the clients in round robin, however many are unanswered."""
    requests = [endless(client) for client in clients]
    began = time.perf_counter()
    idle: list[Connection] = []

    async def one(request: bytes) -> None:
        connection = idle.pop() if idle else Connection(url)
        log.add(await connection.ask(request))
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(one(next(requests[number % len(requests)])))
    for connection in idle:
        connection.close()


async def probe(url: str, until: float, log: ResponseLog) -> None:
    """Send liveness and readiness probes in turn."""
    paths = itertools.cycle([got("/livez"), got("/readyz")])
    async with Connection(url) as connection:
        while time.perf_counter() < until:
            log.add(await connection.ask(next(paths)))
            await asyncio.sleep(PROBE_PAUSE)


def attack(load: Load, pipe: Pipe) -> None:
    """Main function of the attacking process: sends None when it begins, and its `ResponseLog` at the end."""
    log = ResponseLog()

    async def go() -> None:
        pipe.send(None)
        if load.per_second is not None:
            await ask_at_a_rate(load.url, load.clients, load.per_second, load.seconds, log)
            return
        until = time.perf_counter() + load.seconds
        asking = (ask_in_turn(load.url, client, until, log) for client in load.clients)
        await asyncio.gather(*asking)

    asyncio.run(go())
    pipe.send(log)


@contextmanager
def attacked(load: Load | None) -> Iterator[list[ResponseLog]]:
    """Run an attack during the block; afterwards the list holds the log of its clients."""
    result: list[ResponseLog] = []
    if load is None:
        yield result
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=attack, args=(load, theirs), daemon=True)
    process.start()
    ours.recv()
    yield result
    if ours.poll(load.seconds + DRAIN_SECONDS):
        result.append(ours.recv())
    process.join(1)
    process.kill()


def measured(url: str, clients: Sequence[Iterable[bytes]], seconds: float, load: Load | None) -> dict[str, ResponseLog]:
    """Responses to modest clients, to attackers, and to probes of the service and of an idle process."""
    modest, probes, idle = ResponseLog(), ResponseLog(), ResponseLog()

    async def go() -> None:
        if load is not None:
            await asyncio.sleep(1.0)  # the attack is under way
        until = time.perf_counter() + seconds
        asking = (ask_in_turn(url, requests, until, modest) for requests in clients)
        await asyncio.gather(*asking, probe(url, until, probes), probe(idle_url, until, idle))

    with bystander() as idle_url, attacked(load) as attackers:
        asyncio.run(go())
    return {
        "modest": modest,
        "probes": probes,
        "bystander": idle,
        "attackers": attackers[0] if attackers else ResponseLog(),
    }


def late_probes(probes: ResponseLog, bystander: ResponseLog) -> dict[str, bool]:
    """A fault's text and whether it holds: probes took longer than those of an idle process on the busy machine."""
    late, machine = probes.milliseconds(0.99), bystander.milliseconds(0.99) or 0.0
    if late is None:
        return {"no probe was answered": True}
    return {f"probes took {late} ms, {machine} ms of an idle process": late > 1e3 * MAX_PROBE_SECONDS + machine}
