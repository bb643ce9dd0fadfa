"""What keeps the processes of a test run small."""

import ctypes
import os
import threading
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library than glibc")
def test_the_threads_of_all_tests_share_two_arenas(tmp_path: Path) -> None:
    together = threading.Barrier(12)

    def allocate() -> None:
        together.wait()
        held = np.ones(1000)
        together.wait()
        del held

    threads = [threading.Thread(target=allocate) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert arenas(tmp_path / "malloc.xml") <= 2


def arenas(report: Path) -> int:
    """Arenas of this process, by the report of glibc, which is written to a file."""
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fopen(os.fsencode(report), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    return report.read_text(encoding="ascii").count("<heap nr=")
