"""Kills at random moments: `python -m tests.integration.bulk.random_kills SEED ...`.

A job over INPUTS (300) pictures on a cluster of two nodes; now and then its driver, an actor, or a node is killed with
SIGKILL, and where the driver died the same command goes on. At the end each input has one row, or the seed fails.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from psutil import NoSuchProcess

from tests.integration.bulk.playing import Nodes, assert_each_once, cluster, files_of, finished, start, wait_for_rows
from tests.service.commands.bulk import jobs

KILLS = 5
EACH = 6  # rows of a file
VICTIMS = ("driver", "actor", "node", "both actors", "actor and node")
LATER = 1.0  # seconds at most after a file of rows came
Killed = tuple[str, int]  # who, and after how many files


class Plan(NamedTuple):
    """What is killed, and after how many more files of rows; `later` seconds after that."""

    victim: str
    files: int
    later: float


def planned(seed: int, kills: int, files: int) -> list[Plan]:
    """Of a job of so many files: the same of the same seed. A driver dies at least once."""
    chance = random.Random(seed)
    victims = ["driver", *chance.choices(VICTIMS, k=kills - 1)]
    chance.shuffle(victims)
    most = max(1, files // (2 * kills))
    return [Plan(victim, chance.randint(0, most), LATER * chance.random()) for victim in victims]


def play(seed: int, source: Path, out: Path, nodes: Nodes, inputs: int, each: int, kills: int) -> list[Killed]:
    """One job with its kills, to its end.

    Returns:
        Who was killed when. Whoever the job was too quick for is not among them.

    Raises:
        AssertionError: an input has no row, or two, or the job failed.
    """
    options = ("--ray", nodes.address, "--actors", "2", "--cpus", "1", "--rows-per-file", str(each))
    files = -(-inputs // each)
    killed: list[Killed] = []
    job = start(source, out, *options)
    try:
        for victim, more, later in planned(seed, kills, files):
            if not wait_for_rows(out, min(files_of(out) + more, files - 2), job, later):
                break
            files_then = files_of(out)
            if victim == "driver":
                job.send_signal(signal.SIGKILL)
                job.communicate()
                job = start(source, out, *options)
            elif not kill(victim, nodes):
                continue
            killed.append((victim, files_then))
        finished(job, inputs)
    finally:
        end(job)
    assert_each_once(out, inputs)
    return killed


def kill(victim: str, nodes: Nodes) -> bool:
    """Actors, a node, or both; False where there is no actor yet."""
    actors = nodes.actors() if "actor" in victim else []
    for actor in actors if victim == "both actors" else actors[:1]:
        with suppress(NoSuchProcess):  # it has just ended by itself
            actor.kill()
    if "node" in victim:
        nodes.kill_one()
    return "node" in victim or bool(actors)


def end(job: Popen[str]) -> None:
    """Whatever became of it."""
    if job.poll() is None:
        job.kill()
    job.communicate()


def main() -> None:
    """Every seed that was named, each in a folder of its own."""
    inputs = int(os.environ.get("INPUTS", "300"))
    with tempfile.TemporaryDirectory() as folder, cluster() as nodes:
        source = jobs.folder(Path(folder) / "in", inputs)
        for seed in map(int, sys.argv[1:]):
            killed = play(seed, source, Path(folder) / f"out-{seed}", nodes, inputs, EACH, KILLS)
            told = ", ".join(f"{victim} after {files} files" for victim, files in killed)
            print(f"seed {seed}: {inputs} inputs, {inputs} rows; killed: {told}", flush=True)


if __name__ == "__main__":
    main()
