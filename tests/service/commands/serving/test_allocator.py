"""In processes of their own: arenas that are there stay."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no arenas")
# Eight threads that allocate at once, and how many arenas they did it in.
PROGRAM = """
import ctypes, sys, tempfile, threading
from lexiseg_service.commands.serving.allocator import bound_arenas
print(bound_arenas())
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait(20)
    for _ in range(50):
        libc.malloc(5000)
    together.wait(20)
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as said:
    file = ctypes.c_void_p(libc.fopen(said.name.encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    print(said.read().decode().count("<heap "))
"""


def arenas(**environment: str) -> tuple[str, int]:
    """Whether they were bounded, and how many there are."""
    inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    bounded, n_arenas = ended.stdout.split()
    return bounded, int(n_arenas)


def test_many_threads_share_two_arenas() -> None:
    bounded, n_arenas = arenas()

    assert bounded == "True"
    assert n_arenas <= 2


def test_whoever_sets_the_environment_has_chosen() -> None:
    bounded, n_arenas = arenas(MALLOC_ARENA_MAX="4")

    assert bounded == "False"
    assert 2 < n_arenas <= 4
