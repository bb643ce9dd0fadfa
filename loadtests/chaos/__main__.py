"""`python -m loadtests.chaos`: a service while everything goes wrong at once, asked what has a known answer.

    python -m loadtests.chaos --seconds 300

Starts a Redis, two workers and a gateway with API keys. Honest clients ask over REST and gRPC, small and large; their
first answers have to be the stored ones, and all later ones equal the first. Beside them hostile ones overload, send
halves, keep silent streams and show bad keys, while a worker is killed and another stopped, and Redis stopped and
killed, in a cycle. Ends with 1 if any answer was neither right nor an error with a type, if a process died by itself or
wrote a traceback, or if memory or descriptors do not come back.
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

from lexiseg_service.gateway.admission.keys import line_of, new_key
from loadtests.chaos.deployment import Deployment, Level
from loadtests.chaos.honest import Honest
from loadtests.chaos.hostile import Hostile
from loadtests.chaos.judge import Judge
from loadtests.chaos.reference import differences, read_reference, write_reference

KEYS = ("honest", "hostile-1", "hostile-2")
STOPPED = 6.0  # seconds
BETWEEN = 4.0
TO_SETTLE = 90.0  # seconds for descriptors to come back; clocks of half-open clients run up to a minute
MORE_DESCRIPTORS = 8
BEYOND = 0.15  # of memory, over what it was and what caches say
AT_REST = 10.0  # seconds after the last answer: what was freed is the system's again


async def go_wrong(deployment: Deployment, until: float, judge: Judge) -> None:
    """One fault after the other."""
    loop = asyncio.get_running_loop()

    async def worker_killed() -> None:
        await asyncio.to_thread(deployment.mortal.kill)
        await asyncio.sleep(BETWEEN)
        await asyncio.to_thread(deployment.restart_mortal)

    async def worker_stopped() -> None:
        deployment.patient.send(signal.SIGSTOP)
        await asyncio.sleep(STOPPED)
        deployment.patient.send(signal.SIGCONT)

    async def redis_stopped() -> None:
        deployment.redis.send(signal.SIGSTOP)
        await asyncio.sleep(STOPPED)
        deployment.redis.send(signal.SIGCONT)

    async def redis_killed() -> None:
        await asyncio.to_thread(deployment.redis.kill)
        await asyncio.sleep(BETWEEN)
        deployment.redis.start()

    for fault in itertools.cycle([worker_killed, worker_stopped, redis_stopped, redis_killed]):
        if loop.time() + STOPPED + BETWEEN >= until:
            return
        await fault()
        judge.count("faults", fault.__name__)
        await asyncio.sleep(BETWEEN)


async def check(honest: Honest) -> None:
    """Compare the answers of an undisturbed service with the stored ones.

    Raises:
        RuntimeError: it answers wrongly from the start.
    """
    right = read_reference()
    answers = await honest.learn()
    wrong = [line for name, answer in answers.items() for line in differences(name, answer, right[name])]
    if wrong:
        raise RuntimeError("\n".join(["wrong before anything has gone wrong:", *wrong]))


async def play(
    deployment: Deployment, keys: dict[str, str], seconds: float, judge: Judge
) -> dict[str, dict[str, Level]]:
    """The levels before and after."""
    honest = Honest(deployment.url, deployment.grpc, keys["honest"], judge)
    hostile = Hostile(deployment.url, deployment.grpc, [keys[name] for name in KEYS[1:]], judge, seed=0)
    await check(honest)
    loop = asyncio.get_running_loop()
    # Once without faults: what a process takes the first time it is pressed, it keeps.
    began = loop.time()
    await asyncio.gather(honest.ask(began + 10), honest.call(began + 10), hostile.overload(began + 10))
    per_second = max(1, judge.right("crowd")) / (loop.time() - began)
    attacks = (hostile.keys, hostile.halves, hostile.streams, hostile.long_lists)
    pressed = loop.time() + 10
    await asyncio.gather(hostile.flood(4.0, per_second, pressed), *(attack(pressed) for attack in attacks))
    await asyncio.sleep(AT_REST)  # or it would be measured by what a crowd takes for a moment
    before = levels(deployment)

    until = loop.time() + seconds
    third = seconds / 3
    async with asyncio.TaskGroup() as group:
        for client in (honest.ask, honest.ask, honest.call, honest.watch):
            group.create_task(client(until))
        for attack in (hostile.keys, hostile.halves, hostile.streams):
            group.create_task(attack(until))
        group.create_task(go_wrong(deployment, until, judge))
        group.create_task(_after(third / 2, hostile.long_lists, until - third))
        group.create_task(_after(third, partial(hostile.flood, 2.0, per_second), until - 1.5 * third))
        group.create_task(_after(1.5 * third, partial(hostile.flood, 4.0, per_second), until - third))
    if not await asyncio.to_thread(deployment.wait_for_workers):
        judge.surprise("gateway", "it does not find its workers again")
    # What was said before is still true.
    await honest.ask(loop.time() + 5)
    await asyncio.sleep(AT_REST)
    deadline = time.monotonic() + TO_SETTLE
    while (wrong := beyond(before, after := levels(deployment))) and time.monotonic() < deadline:
        await asyncio.sleep(2.0)
    for line in wrong:
        judge.surprise("afterwards", line)
    return {"before": before, "after": after}


async def _after(seconds: float, attack: Any, until: float) -> None:
    await asyncio.sleep(seconds)
    await attack(until)


def levels(deployment: Deployment) -> dict[str, Level]:
    """Of those that lived through everything."""
    return {
        "gateway": deployment.gateway.level(deployment.url),
        "worker": deployment.patient.level(deployment.patient_metrics),
    }


def beyond(before: dict[str, Level], after: dict[str, Level]) -> list[str]:
    """What has not come back."""
    wrong = []
    for name, was in before.items():
        now = after[name]
        if now.descriptors > was.descriptors + MORE_DESCRIPTORS:
            wrong.append(f"{name}: {now.descriptors} descriptors, {was.descriptors} before")
        accounted = was.resident + max(0.0, now.caches - was.caches)
        if now.resident > accounted * (1 + BEYOND):
            wrong.append(f"{name}: {now.resident >> 20} MiB, {int(accounted) >> 20} accounted for")
    return wrong


def main(words: list[str]) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument(
        "--write-reference", action="store_true", help="store the answers of this service as the right ones"
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
            seen = asyncio.run(play(deployment, keys, options.seconds, judge))
            for process, status in deployment.close().items():
                if status != 0:
                    judge.surprise(process, f"it ended with {status}")
        for process, log in deployment.logs().items():
            if "Traceback" in log:
                judge.surprise(process, f"a traceback: {log[log.index('Traceback') :][:2000]}")
    figures = {
        "counts": {who: dict(counts) for who, counts in sorted(judge.counts.items())},
        **{when: {name: level._asdict() for name, level in each.items()} for when, each in seen.items()},
    }
    print(json.dumps(figures), flush=True)
    for surprise in judge.surprises:
        print(surprise, file=sys.stderr)
    if not all(judge.right(who) for who in ("REST, small", "REST, large", "gRPC", "video")):
        print("some kind of honest client was never answered", file=sys.stderr)
        return 1
    return 1 if judge.surprises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
