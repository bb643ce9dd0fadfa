"""In processes of their own: what is set aside stays so."""

from __future__ import annotations

import subprocess
import sys

CIRCLE = """
import gc, weakref
from lexiseg_service.collector import look_at_all, set_aside
class Circle: pass
gone, stays = Circle(), Circle()
gone.itself = gone
there = weakref.ref(gone)
set_aside()
print(len(gc.get_objects()) < 100)
del gone
gc.collect()
print(there() is None)
look_at_all()
print(there() is None, len(gc.get_objects()) < 100)
"""
# What full collections look at, of a service that is ready.
READY = """
import gc, os, signal, threading, time
from lexiseg_service.commands.serving import serve
from lexiseg_service.settings import Settings
workers, open_worker = [], serve.LocalWorker
def opened(*arguments):
    workers.append(open_worker(*arguments))
    return workers[0]
serve.LocalWorker = opened
def look():
    deadline = time.monotonic() + 60
    while not (workers and workers[0].health().ready) and time.monotonic() < deadline:
        time.sleep(0.02)
    print(len(gc.get_objects()), gc.get_freeze_count())
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=look).start()
serve.run(Settings(http_port=0, grpc_port=0, log_level="error"))
"""
# Full collections while much comes and stays, as of requests that wait; then, and when nothing comes any more.
SELDOM = """
import gc, time
from lexiseg_service.collector import seldom
class Circle: pass
full = lambda: gc.get_stats()[2]["collections"]
def come():
    there.extend([[] for _ in range(100_000)])
    circle = Circle()
    circle.itself = circle
    return sum(isinstance(each, Circle) for each in gc.get_objects(2))
def until(there_is):
    deadline = time.monotonic() + 60
    while not there_is() and time.monotonic() < deadline:
        yield
there = []
before, usual = full(), gc.get_threshold()
for _ in range(20):
    come()
print(full() > before)
with seldom(0.5, 3600.0):
    busy = full()
    for _ in range(20):
        come()
    print(full() == busy)
    for _ in until(lambda: full() > busy):
        time.sleep(0.01)
    once = full()
    print(once > busy, not any(isinstance(each, Circle) for each in gc.get_objects()))
    time.sleep(1.2)
    print(full() == once)
with seldom(0.05, 0.2):
    busy = full()
    for _ in until(lambda: full() > busy):
        del there[:]
        come()
    print(full() > busy)
print(gc.get_threshold() == usual)
"""


def said(program: str) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout.splitlines()


def test_a_circle_that_was_set_aside_is_found_when_all_is_looked_at() -> None:
    assert said(CIRCLE) == ["True", "False", "True True"]


def test_a_service_that_is_ready_has_set_aside_what_it_imported() -> None:
    looked_at, aside = map(int, said(READY)[-1].split())

    assert looked_at < aside / 10
    assert aside > 100_000


def test_while_much_comes_full_collections_wait_for_a_quiet_moment_and_not_for_ever() -> None:
    assert said(SELDOM) == ["True"] * 2 + ["True True"] + ["True"] * 3
