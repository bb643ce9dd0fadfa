"""`python -m loadtests.memory`: resident memory of a service after many requests, against what its gauges explain.

    python -m loadtests.memory --requests 3000

Images of three sizes, new to every cache, with short and long class lists, from a few clients. Explained are the memory
of the process when it became ready (interpreter, libraries, model) and its caches, by their gauges. Exits with 1 if it
holds more than 15 % beyond that at rest; memory of the last requests is returned to the system within seconds.
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

from loadtests.attackers import OK, ResponseLog
from loadtests.hostile import Pictures
from loadtests.plain_client import Connection
from loadtests.run import service, until_ready

CLIENTS = 8
MAX_UNEXPLAINED = 0.15  # share of the explained memory
REST_SECONDS = 10.0  # after the last response
RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
CPU_SECONDS = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
CACHES = re.compile(r"^lexiseg_cache_bytes\{\S+\} (\S+)$", re.MULTILINE)


def gauge(url: str, line: re.Pattern[str]) -> float:
    """The sum of the values of all lines of /metrics that match a pattern."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        return sum(map(float, line.findall(response.read().decode())))


async def ask(url: str, n_requests: int, seconds: float) -> ResponseLog:
    """Send `n_requests` mixed requests from CLIENTS clients, for at most `seconds`."""
    pictures, log = Pictures(), ResponseLog()
    kinds = [(pictures.photograph, 20), (pictures.thumbnail, 150), (pictures.photograph, 5), (pictures.large, 20)]
    until = time.monotonic() + seconds
    work = itertools.takewhile(lambda _: time.monotonic() < until, itertools.islice(itertools.cycle(kinds), n_requests))

    async def client() -> None:
        async with Connection(url) as connection:
            for picture, n_classes in work:
                log.add(await connection.ask(pictures.request(picture, n_classes)))

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return log


def main(words: list[str]) -> int:
    """Run the load, print the figures and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no more requests are sent")
    options = parser.parse_args(words)
    with service() as (url, _):
        until_ready(url)
        ready, cpu_before = gauge(url, RESIDENT), gauge(url, CPU_SECONDS)
        log = asyncio.run(ask(url, options.requests, options.seconds))
        cpu_seconds = gauge(url, CPU_SECONDS) - cpu_before
        busy = gauge(url, RESIDENT)
        time.sleep(REST_SECONDS)
        resident, caches = gauge(url, RESIDENT), gauge(url, CACHES)
    beyond = resident / (ready + caches) - 1
    figures = {
        "answers": log.count(OK),
        "others": len(log.responses) - log.count(OK),
        "ready_mb": round(ready / 2**20),
        "caches_mb": round(caches / 2**20),
        "busy_mb": round(busy / 2**20),
        "resident_mb": round(resident / 2**20),
        "beyond_percent": round(100 * beyond, 1),
        "cpu_ms_a_request": round(1e3 * cpu_seconds / max(1, log.count(OK)), 1),
    }
    print(json.dumps(figures))
    return 1 if beyond > MAX_UNEXPLAINED or not log.count(OK) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
