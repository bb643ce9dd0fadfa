"""Processes of torch.distributed, as torchrun would start them."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from loadtests.ports import free_port

MAX_SECONDS = 240  # a hung collective must not hang the tests


def fork_server() -> ForkServerContext:
    """A context whose processes start without the threads and the state of the tests, with torch imported.

    And with what else would take each of them seconds: `torch._dynamo`, which the first optimizer of a process imports,
    and CLIP's towers with open_clip and transformers.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "lexiseg_model.clip.towers"])
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
