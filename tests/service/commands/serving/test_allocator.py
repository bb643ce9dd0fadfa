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


# A hundred megabytes in small pieces with one piece kept at the end, and whether they go back to the system.
FREED = """
import ctypes, time, psutil
from lexiseg_service.commands.serving.allocator import bound_arenas, handing_back
bound_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
pieces = []
for _ in range(2000):
    pieces.append(libc.malloc(50_000))
    ctypes.memset(pieces[-1], 1, 50_000)
resident = psutil.Process().memory_info
full = resident().rss
for piece in pieces[:-1]:
    libc.free(piece)
kept = resident().rss
deadline = time.monotonic() + 30
with handing_back(0.05):
    while resident().rss > full - 80_000_000 and time.monotonic() < deadline:
        time.sleep(0.02)
print((full - kept) // 10**6, (full - resident().rss) // 10**6)
"""


def test_what_was_freed_goes_back_to_the_system() -> None:
    ended = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, timeout=60, check=True)

    of_itself, with_help = map(int, ended.stdout.split())
    assert of_itself < 20
    assert with_help >= 80
