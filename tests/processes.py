"""Several processes that know each other through torch.distributed, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 240  # a hung collective must not hang the tests


def run_together(count: int, work: Callable[[], Any], folder: Path) -> list[Any]:
    """What `work` gives in each of `count` processes, by rank; it is a function of a module and takes nothing."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run, args=(rank, count, work, folder)) for rank in range(count)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(SECONDS)
        codes = [process.exitcode for process in processes]
        assert codes == [0] * count, f"exit codes {codes}"
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(count)]


def _run(rank: int, count: int, work: Callable[[], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(work()))
    dist.destroy_process_group()
