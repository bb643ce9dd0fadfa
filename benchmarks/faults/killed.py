"""A job while its processes are killed again and again: `python -m benchmarks killed ROOT`.

Photographs below ROOT are made small. One job is left alone; then one with SQLite and one with Redis ask the same
while gateway, worker, Redis, and the whole service get SIGKILL at moments spread over the job. Prints how many results
came, and how many are missing, there twice, a problem, or differ from those of the job that was left alone.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.timing import print_table
from tests.integration.batch.killing import Patient, is_gateway, is_worker
from tests.redis_server import RedisServer

QUESTION = {"classes": ["person", "car", "dog", "chair", "building", "sky", "road", "tree"]}
MAX_SECONDS = 3600.0  # for one job
MAX_PAUSE = 1.0  # seconds, from the number of pictures that is waited for to the kill
Answers = dict[int, list[Any]]  # segments of each line, by number of the picture
Victims = dict[str, Callable[[], None]]


def make_small(root: Path, folder: Path, count: int, side: int) -> None:
    """Write `count` photographs found below a folder, their longer side `side`, evenly from all of them.

    Raises:
        SystemExit: there are fewer.
    """
    paths = sorted(root.rglob("*.jpg"))
    if len(paths) < count:
        raise SystemExit(f"{root}: {len(paths):,} photographs (*.jpg), expected {count:,}")
    for number in range(count):
        with Image.open(paths[number * len(paths) // count]) as picture:
            picture.draft("RGB", (side, side))
            picture.thumbnail((side, side))
            picture.convert("RGB").save(folder / f"{number:05d}.jpg", quality=90)


def run_job(server: Patient, folder: Path, count: int, victims: Victims, kills: int) -> tuple[Answers, Counter[str]]:
    """Run a job, with `kills` kills spread over it.

    Returns:
        Segments by picture, and the number of lines, of those that come twice, and of problems.
    """
    job = server.create(folder, QUESTION)
    for number, name in enumerate(islice(cycle(victims), kills), 1):
        server.wait_for(job, number * count // (kills + 1), MAX_SECONDS)
        time.sleep(random.uniform(0, MAX_PAUSE))
        done = server.progress(job).get("done", "?")
        victims[name]()
        print(f"  {done} of {count}: {name} killed", flush=True)
    server.wait_for(job, count, MAX_SECONDS)
    answers: Answers = {}
    counts = Counter[str]()
    for line in server.ask("GET", f"/v1/jobs/{job}/results?to=jsonl").text.splitlines():
        document = json.loads(line)
        counts["lines"] += 1
        counts["twice"] += document["number"] in answers
        counts["problems"] += document["problem"] is not None
        answers[document["number"]] = (document["answer"] or {"segments": []})["segments"]
    return answers, counts


def main(arguments: Sequence[str]) -> None:
    """Run the three jobs and print their counts. Raises SystemExit: a result is missing, twice or wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks killed", description=__doc__)
    parser.add_argument("root", type=Path, help="folder with photographs, also in folders below it")
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--side", type=int, default=160, help="longer side of the pictures, in pixels")
    parser.add_argument("--kills", type=int, default=12)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        make_small(options.root, folder, options.pictures, options.side)
        expected: Answers = {}
        for name in ("left alone", "SQLite", "Redis"):
            state = Path(place) / name
            state.mkdir()
            print(f"{name}:", flush=True)
            answers, row = _measured(name, state, folder, options.pictures, 0 if not expected else options.kills)
            expected = expected or answers
            wrong = sum(answers.get(number) != segments for number, segments in expected.items())
            rows.append([name, *row, str(wrong)])
    print_table("A job with kills", ["job", "kills", "seconds", "lines", "twice", "problems", "wrong"], rows)
    right = [str(options.pictures), "0", "0", "0"]
    if any(row[3:] != right for row in rows):
        raise SystemExit("expected one right answer for each picture")


def _measured(name: str, state: Path, folder: Path, count: int, kills: int) -> tuple[Answers, list[str]]:
    redis = RedisServer(state, durable=True) if name == "Redis" else None
    try:
        with Patient(state, folder, **({} if redis is None else {"LEXISEG_REDIS_URL": redis.url})) as server:
            began = time.monotonic()
            answers, counts = run_job(server, folder, count, _victims(server, redis), kills)
            seconds = time.monotonic() - began
    finally:
        if redis is not None:
            redis.kill()
    return answers, [str(kills), f"{seconds:.0f}", *(str(counts[each]) for each in ("lines", "twice", "problems"))]


def _victims(server: Patient, redis: RedisServer | None) -> Victims:
    """What kills each process and has it started again."""
    victims: Victims = {
        "gateway": lambda: server.kill(is_gateway),
        "worker": lambda: server.kill(is_worker),
        "service": server.kill_all,
    }
    if redis is not None:

        def restart() -> None:
            redis.kill()
            redis.start()

        victims["Redis"] = restart
    return victims
