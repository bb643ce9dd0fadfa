"""`python -m loadtests.memory`: memory of a service after many requests, against what its gauges account for.

    python -m loadtests.memory --requests 3000

Photographs of three sizes, new to every cache, with short and long class lists, from a few clients. Accounted for are
what the process held when it was ready (interpreter, libraries, model) and its caches, as their gauges tell. Ends with
1 if it holds more than 15 % beyond that at rest: what the last requests used goes back to the system seconds later.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import sys
import time
import urllib.request

from loadtests.attackers import OK, Seen
from loadtests.hostile import Pictures
from loadtests.plain_client import Connection
from loadtests.run import service, until_ready

CLIENTS = 8
BEYOND = 0.15
AT_REST = 10.0  # seconds after the last answer
RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
PROCESSOR = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
CACHES = re.compile(r"^lexiseg_cache_bytes\{\S+\} (\S+)$", re.MULTILINE)


def told(url: str, what: re.Pattern[str]) -> float:
    """The sum of what /metrics says of something."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        return sum(map(float, what.findall(response.read().decode())))


async def ask(url: str, n_requests: int, seconds: float) -> Seen:
    """So many mixed requests, from all clients together, as far as the time goes."""
    pictures, seen = Pictures(), Seen()
    kinds = [(pictures.photograph, 20), (pictures.thumbnail, 150), (pictures.photograph, 5), (pictures.large, 20)]
    until = time.monotonic() + seconds
    work = itertools.takewhile(lambda _: time.monotonic() < until, itertools.islice(itertools.cycle(kinds), n_requests))

    async def client() -> None:
        async with Connection(url) as connection:
            for picture, n_classes in work:
                seen.note(await connection.ask(pictures.request(picture, n_classes)))

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return seen


def main(words: list[str]) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no more are asked")
    options = parser.parse_args(words)
    with service() as (url, _):
        until_ready(url)
        ready, worked = told(url, RESIDENT), told(url, PROCESSOR)
        seen = asyncio.run(ask(url, options.requests, options.seconds))
        worked = told(url, PROCESSOR) - worked
        busy = told(url, RESIDENT)
        time.sleep(AT_REST)
        resident, caches = told(url, RESIDENT), told(url, CACHES)
    beyond = resident / (ready + caches) - 1
    figures = {
        "answers": seen.count(OK),
        "others": len(seen.answers) - seen.count(OK),
        "ready_mb": round(ready / 2**20),
        "caches_mb": round(caches / 2**20),
        "busy_mb": round(busy / 2**20),
        "resident_mb": round(resident / 2**20),
        "beyond_percent": round(100 * beyond, 1),
        "cpu_ms_a_request": round(1e3 * worked / max(1, seen.count(OK)), 1),
    }
    print(json.dumps(figures))
    return 1 if beyond > BEYOND or not seen.count(OK) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
