"""What Python's cyclic collector need not look at: whatever is there before the requests come, and stays.

A full collection looks at every object that may hold others and lets no thread run meanwhile. Of a process that has
imported torch and holds a model these are 300,000, which take 150 ms: probes and small requests wait for them. What
has been set aside is freed as ever when nobody holds it; only circles of it are not found, until `look_at_all`.

Requests bring objects, too: one of 256 prompts of 32 points has 30,000 of them, and some wait for seconds. By itself
Python looks at all of them whenever as many have come, of which it remembers no freed one: beside clients with such
requests, twice a second for a tenth of a second. Nothing here needs that: what requests leave is freed when nobody
holds it. So full collections come when nothing else happens, and seldom otherwise.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_SECONDS = 1.0
# Between two full collections of a process that is never quiet. Beside the clients above each took 170 and 220 ms, and
# found nothing.
MOST_SECONDS = 300.0
NEVER = 2**31 - 1


def set_aside() -> None:
    """Full collections do not look at what is there now, rubbish aside."""
    gc.collect()
    gc.freeze()


def look_at_all() -> None:
    """One full collection of everything, also of what was set aside: a model may be gone that was there then."""
    aside = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()
    if aside:
        gc.freeze()


@contextmanager
def seldom(look: float = LOOK_SECONDS, most: float = MOST_SECONDS) -> Iterator[None]:
    """While it lasts, a full collection waits for a moment without work, for so many seconds at most.

    Args:
        look: seconds without a collection of young objects, after which a process is quiet.
        most: seconds from one full collection to the next, while there is anything new to look at.
    """
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], NEVER)
    over = threading.Event()

    def work() -> None:
        young, full = _young(), time.monotonic()
        while not over.wait(look):
            were, young = young, _young()
            late = time.monotonic() - full >= most
            if gc.get_count()[2] and (young == were or late):
                gc.collect()
                young, full = _young(), time.monotonic()

    thread = threading.Thread(target=work, name="collector", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.set_threshold(*before)


def _young() -> int:
    """Collections of young objects so far."""
    return sum(int(each["collections"]) for each in gc.get_stats()[:2])
