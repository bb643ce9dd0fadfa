"""`python -m loadtests.chaos`: answers of a deployment under injected faults and hostile load.

    python -m loadtests.chaos --seconds 300

Starts Redis, two workers, a gateway with API keys and HAProxy in front of it, plain and with TLS. Honest clients send
small and large requests over REST and gRPC; their first answers must equal the stored reference, all later ones the
first. Meanwhile hostile clients overload the gateway, send half requests and images of millions of parts, keep silent
streams, use bad keys, and keep thousands of HTTP/2 requests open at the edges from an address of their own; and in a
cycle one worker is killed, the other stopped, Redis stopped and Redis killed. Exits with 1 if an answer is neither
right nor a typed error, if a process died by itself or logged a traceback, or if memory or file descriptors do not
return to their level before.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from loadtests.chaos.deployment import Deployment, Level
from loadtests.chaos.honest import Honest
from loadtests.chaos.hostile import Hostile
from loadtests.chaos.judge import Judge
from loadtests.chaos.reference import differences, read_reference, write_reference

KEYS = ("honest", "hostile-1", "hostile-2")
STOPPED_SECONDS = 6.0  # between SIGSTOP and SIGCONT
FAULT_PAUSE = 4.0  # seconds between two faults, and before a killed process restarts
SETTLE_SECONDS = 90.0  # for descriptors to be closed; timeouts of half-open connections are up to a minute
MAX_MORE_DESCRIPTORS = 8
MAX_UNEXPLAINED = 0.15  # share of memory beyond the level before and the growth of the caches
MAX_KEPT_BYTES = 24 << 20  # by the allocator: the body of one large request
ENDS = {"edge": -signal.SIGTERM, "edge-tls": -signal.SIGTERM}  # exit statuses; of all others 0
REST_SECONDS = 10.0  # after the last response, until freed memory is returned to the system


async def inject_faults(deployment: Deployment, until: float, judge: Judge) -> None:
    """Inject one fault after the other, in a cycle."""
    loop = asyncio.get_running_loop()

    async def worker_killed() -> None:
        await asyncio.to_thread(deployment.mortal.kill)
        await asyncio.sleep(FAULT_PAUSE)
        await asyncio.to_thread(deployment.restart_mortal)

    async def worker_stopped() -> None:
        deployment.patient.send(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)
        deployment.patient.send(signal.SIGCONT)

    async def redis_stopped() -> None:
        deployment.redis.send(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)
        deployment.redis.send(signal.SIGCONT)

    async def redis_killed() -> None:
        await asyncio.to_thread(deployment.redis.kill)
        await asyncio.sleep(FAULT_PAUSE)
        deployment.redis.start()

    for fault in itertools.cycle([worker_killed, worker_stopped, redis_stopped, redis_killed]):
        if loop.time() + STOPPED_SECONDS + FAULT_PAUSE >= until:
            return
        await fault()
        judge.count("faults", fault.__name__)
        await asyncio.sleep(FAULT_PAUSE)


async def check(honest: Honest) -> None:
    """Learn the answers of an undisturbed service, and compare them with the stored reference.

    Raises:
        RuntimeError: an answer differs.
    """
    right = read_reference()
    answers = await honest.learn()
    wrong = [line for name, answer in answers.items() for line in differences(name, answer, right[name])]
    if wrong:
        raise RuntimeError("\n".join(["wrong answers without any fault:", *wrong]))


async def play(
    deployment: Deployment, keys: dict[str, str], seconds: float, judge: Judge
) -> dict[str, dict[str, Level]]:
    """Run all clients and faults; returns the levels of memory and descriptors before and after."""
    honest = Honest(deployment.url, deployment.grpc, keys["honest"], judge)
    hostile = Hostile(deployment.url, deployment.grpc, [keys[name] for name in KEYS[1:]], judge, seed=0)
    await check(honest)
    loop = asyncio.get_running_loop()
    # Load without faults first: what a process allocates under its first load, it keeps.
    began = loop.time()
    await asyncio.gather(honest.ask(began + 10), honest.call(began + 10), hostile.overload(began + 10))
    per_second = max(1, judge.right("crowd")) / (loop.time() - began)
    edge = f"http://127.0.0.1:{deployment.edge.http}"
    at_edges = (
        partial(hostile.unfinished, deployment.edge, tls=False),
        partial(hostile.unfinished, deployment.tls, tls=True),
    )
    attacks = (hostile.keys, hostile.halves, hostile.streams, hostile.long_lists, hostile.bombs, *at_edges)
    warm_up_end = loop.time() + 10
    await asyncio.gather(hostile.flood(4.0, per_second, warm_up_end), *(attack(warm_up_end) for attack in attacks))
    await asyncio.sleep(REST_SECONDS)
    before = levels(deployment)

    until = loop.time() + seconds
    third = seconds / 3
    async with asyncio.TaskGroup() as group:
        for client in (honest.ask, honest.ask, honest.call, honest.watch):
            group.create_task(client(until))
        group.create_task(honest.ask(until, edge))
        for attack in (hostile.keys, hostile.halves, hostile.streams, hostile.bombs, *at_edges):
            group.create_task(attack(until))
        group.create_task(inject_faults(deployment, until, judge))
        group.create_task(_after(third / 2, hostile.long_lists, until - third))
        group.create_task(_after(third, partial(hostile.flood, 2.0, per_second), until - 1.5 * third))
        group.create_task(_after(1.5 * third, partial(hostile.flood, 4.0, per_second), until - third))
    if not await asyncio.to_thread(deployment.wait_for_workers):
        judge.surprise("gateway", "it did not find its workers again")
    await honest.ask(loop.time() + 5)  # the answers are still the same
    await asyncio.sleep(REST_SECONDS)
    deadline = time.monotonic() + SETTLE_SECONDS
    while (wrong := beyond(before, after := levels(deployment))) and time.monotonic() < deadline:
        await asyncio.sleep(2.0)
    for line in wrong:
        judge.surprise("afterwards", line)
    return {"before": before, "after": after}


async def _after(seconds: float, attack: Any, until: float) -> None:
    await asyncio.sleep(seconds)
    await attack(until)


def levels(deployment: Deployment) -> dict[str, Level]:
    """Levels of the processes that are never killed."""
    return {
        "gateway": deployment.gateway.level(deployment.url),
        "worker": deployment.patient.level(deployment.patient_metrics),
    }


def beyond(before: dict[str, Level], after: dict[str, Level]) -> list[str]:
    """Descriptors and memory that did not return to their level before, one line each."""
    wrong = []
    for name, was in before.items():
        now = after[name]
        if now.descriptors > was.descriptors + MAX_MORE_DESCRIPTORS:
            wrong.append(f"{name}: {now.descriptors} descriptors, {was.descriptors} before")
        explained = was.resident + max(0.0, now.caches - was.caches)
        if now.resident > explained * (1 + MAX_UNEXPLAINED) + MAX_KEPT_BYTES:
            wrong.append(f"{name}: {now.resident >> 20} MiB, {int(explained) >> 20} explained")
    return wrong


def main(words: list[str]) -> int:
    """Run everything, print the counts and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument(
        "--write-reference", action="store_true", help="store the answers of this service as the reference"
    )
    options = parser.parse_args(words)
    judge = Judge()
    keys = {who: new_key() for who in KEYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "keys"
        file.write_text("\n".join(line_of(who, key) for who, key in keys.items()) + "\n", encoding="utf-8")
        with Deployment(folder, file) as deployment:
            if options.write_reference:
                write_reference(asyncio.run(Honest(deployment.url, deployment.grpc, keys["honest"], judge).learn()))
                return 0
            levels_by_time = asyncio.run(play(deployment, keys, options.seconds, judge))
            for process, status in deployment.close().items():
                if status != ENDS.get(process, 0):
                    judge.surprise(process, f"it exited with {status}")
        for process, log in deployment.logs().items():
            if "Traceback" in log:
                judge.surprise(process, f"a traceback: {log[log.index('Traceback') :][:2000]}")
    figures = {
        "counts": {who: dict(counts) for who, counts in sorted(judge.counts.items())},
        **{when: {name: level._asdict() for name, level in each.items()} for when, each in levels_by_time.items()},
    }
    print(json.dumps(figures), flush=True)
    for surprise in judge.surprises:
        print(surprise, file=sys.stderr)
    if not all(judge.right(who) for who in ("REST, small", "REST, large", "edge, small", "gRPC", "video")):
        print("expected right answers of every kind of honest client; one kind got none", file=sys.stderr)
        return 1
    return 1 if judge.surprises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
