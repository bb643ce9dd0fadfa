"""The processes of a training run or an evaluation: joining, ranks, waiting for each other, stopping on a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from lexiseg_model.command_line.signals import on_signals
from lexiseg_model.resources.device import choose_device

STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2.0  # a signal to all processes of a run reaches them one after the other


def rank() -> int:
    return dist.get_rank() if _distributed() else 0


def world_size() -> int:
    return dist.get_world_size() if _distributed() else 1


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def join(device: str) -> torch.device:
    """Join the process group that torchrun's environment describes, if any: the device, the GPU of the local rank."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if several and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{local}"
    torch_device = choose_device(device)
    if several and not dist.is_initialized():
        if torch_device.type == "cuda":
            torch.cuda.set_device(torch_device)
        store, this_rank, size = next(rendezvous("env://"))
        # torchrun keeps its store over restarts: a prefix keeps addresses of the previous start out of this one.
        attempt = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if torch_device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=attempt, rank=this_rank, world_size=size)
    return torch_device


def wait_for_all() -> None:
    if world_size() > 1:
        dist.barrier()


@contextmanager
def one_first() -> Iterator[None]:
    """Run the block in rank 0 before the other ranks, which find the files that it wrote."""
    if rank() > 0:
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


class Stops:
    """Requests to stop; `with_parent`: also when the parent process, such as torchrun, is gone."""

    def __init__(self, with_parent: bool = False) -> None:
        self._parent = os.getppid() if with_parent else None
        self._requested = threading.Event()
        self.by = ""  # name of the signal, or another reason

    @property
    def requested(self) -> bool:
        if self._parent is not None and os.getppid() != self._parent:
            self.by = "the end of the parent process"
            self._requested.set()
        return self._requested.is_set()

    def requested_soon(self) -> bool:
        """Whether a signal arrives within a grace period: a worker may have died of one that we get next."""
        return self._requested.wait(GRACE_SECONDS)

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """The first signal in the block only sets `requested`; a second Ctrl-C interrupts."""
        with on_signals(self._request, *STOPPING):
            yield

    def _request(self, which: int, _: object) -> None:
        if self.requested and which == signal.SIGINT:
            raise KeyboardInterrupt
        self.by = signal.Signals(which).name
        self._requested.set()
