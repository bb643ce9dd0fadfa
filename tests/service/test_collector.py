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


def said(program: str) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout.splitlines()


def test_a_circle_that_was_set_aside_is_found_when_all_is_looked_at() -> None:
    assert said(CIRCLE) == ["True", "False", "True True"]


def test_a_service_that_is_ready_has_set_aside_what_it_imported() -> None:
    looked_at, aside = map(int, said(READY)[-1].split())

    assert looked_at < aside / 10
    assert aside > 100_000
