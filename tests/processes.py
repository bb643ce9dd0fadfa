"""How processes of the tests allocate, and those of torch.distributed, as torchrun would start them."""

import ctypes
import gc
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from loadtests.ports import free_port

LIBC = ctypes.CDLL(None)

if hasattr(LIBC, "mallopt"):  # of glibc
    # By default eight arenas a core, each of which keeps what threads of some test have freed: 650 MB of 2.3 GB.
    LIBC.mallopt(-8, 2)  # M_ARENA_MAX
    # Freed arrays stay in the heap. Each would else be mapped anew, page after page: a fifth of a training's time.
    LIBC.mallopt(-4, 0)  # M_MMAP_MAX
    LIBC.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD

# By default a collection at 700 new objects, which one request or step makes: a twelfth of the time.
gc.set_threshold(20_000)

MAX_SECONDS = 240  # a hung collective must not hang the tests


def keep() -> None:
    """Collect garbage, and leave what is left out of later collections, as modules: they need not pass through it.

    A forked process shares it with its parent as long as it does not touch it. glibc keeps what is freed if not asked.
    """
    gc.collect()
    gc.freeze()
    if hasattr(LIBC, "malloc_trim"):  # of glibc
        LIBC.malloc_trim(0)


def fork_server() -> ForkServerContext:
    """A context whose processes start without the threads and the state of the tests, with torch imported.

    And with what else would take each of them seconds: `torch._dynamo`, which the first optimizer of a process imports,
    and a trainer with open_clip and transformers. This module comes last: what was imported is shared with them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "lexiseg_train.methods.tcl.trainer", __name__])
    return context


def run_as_by_torchrun(count: int, work: Callable[..., Any], *values: Any) -> None:
    """Run `work` in `count` processes with the environment variables of torchrun."""
    context, port = fork_server(), free_port()
    _join(
        [context.Process(target=_run_with_variables, args=(rank, count, port, work, values)) for rank in range(count)]
    )


def _join(processes: list[ForkServerProcess]) -> None:
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(MAX_SECONDS)
        codes = [process.exitcode for process in processes]
        assert codes == [0] * len(processes), f"exit codes {codes}"
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()


def _run_with_variables(rank: int, count: int, port: int, work: Callable[..., Any], values: tuple[Any, ...]) -> None:
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in variables.items()} | {"GLOO_SOCKET_IFNAME": "lo"}
    work(*values)


keep()
