"""Several processes that know each other through torch.distributed, as torchrun would start them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from loadtests.ports import free_port
from tests.forks import forks

SECONDS = 240  # a hung collective must not hang the tests


def run_together(count: int, work: Callable[[], Any], folder: Path) -> list[Any]:
    """What `work` gives in each of `count` processes, by rank; it is a function of a module and takes nothing."""
    context = forks()
    _to_their_end([context.Process(target=_run, args=(rank, count, work, folder)) for rank in range(count)])
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(count)]


def run_as_by_torchrun(count: int, work: Callable[..., Any], *values: Any) -> None:
    """`work` in each of `count` processes, which are told what torchrun tells its own."""
    context, port = forks(), free_port()
    _to_their_end([context.Process(target=_told, args=(rank, count, port, work, values)) for rank in range(count)])


def _to_their_end(processes: list[ForkServerProcess]) -> None:
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(SECONDS)
        codes = [process.exitcode for process in processes]
        assert codes == [0] * len(processes), f"exit codes {codes}"
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()


def _told(rank: int, count: int, port: int, work: Callable[..., Any], values: tuple[Any, ...]) -> None:
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in told.items()} | {"GLOO_SOCKET_IFNAME": "lo"}
    work(*values)


def _run(rank: int, count: int, work: Callable[[], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(work()))
    dist.destroy_process_group()
