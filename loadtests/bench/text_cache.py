"""What a vocabulary of 1,000 classes costs from each tier of the text cache; needs LEXISEG_REDIS_URL.

LEXISEG_REDIS_URL=redis://localhost:6379 python -m loadtests.text_cache
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.metrics import Metrics
from service.settings import Settings
from service.worker.redis_rows import open_rows
from service.worker.text_cache import TextCache

CLASSES = [f"a photo of a thing number {index}." for index in range(1000)]
WIDTH = 384
ROUNDS = 15


def encode(texts: list[str]) -> NDArray[np.float16]:
    """A tower that takes no time."""
    return np.ones((len(texts), WIDTH), np.float16)


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of this process's CPU time."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - cpu)


def main() -> None:
    settings, metrics = Settings(), Metrics()
    tower = uuid.uuid4().hex  # nobody else's rows
    found: dict[str, list[tuple[float, float]]] = {
        "cold, without the tower's own time": [],
        "from Redis": [],
        "from memory": [],
    }
    for round_ in range(ROUNDS):
        of_round = open_rows(settings, f"{tower}-{round_}", metrics)
        caches = [TextCache(encode, 2**26, of_round, metrics.texts) for _ in range(2)]
        for cache in caches:
            cache.rows(["warm-up"])  # connected
        for name, cache in zip(found, (caches[0], caches[1], caches[1]), strict=True):
            found[name].append(milliseconds(partial(cache.rows, CLASSES)))
        caches[0].close()
    for name, times in found.items():
        clock, cpu = zip(*times, strict=True)
        print(
            f"{name:36} median {statistics.median(clock):7.2f} ms   best {min(clock):7.2f} ms   "
            f"CPU {statistics.median(cpu):7.2f} ms"
        )
    for result in ("hit", "miss", "error"):
        labels = {"tier": "redis", "result": result}
        print(f"redis {result}: {metrics.registry.get_sample_value('lexiseg_text_cache_total', labels) or 0:.0f} texts")


if __name__ == "__main__":
    main()
