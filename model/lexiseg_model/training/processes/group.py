"""The processes that torchrun starts for one run: how they meet, and what they tell each other.

Gradients are averaged by hand after the backward pass and not by DistributedDataParallel, whose hooks sit in one
module's `forward`: a method's losses go through its network in several passes, and what is frozen changes on the way.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from lexiseg_model.device import choose_device
from lexiseg_model.training.gather import rank, world_size
from lexiseg_model.training.processes.workers import die_with_parent

BUCKET_BYTES = 25 << 20  # of gradients that travel together


def join(device: str) -> torch.device:
    """Meets the other processes, if there are any, and gives this one's device: with CUDA, the GPU of its local rank.

    Raises:
        OptionError: no device of that name.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if several and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{local}"
    chosen = choose_device(device)
    if several and not dist.is_initialized():
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        store, own, world = next(rendezvous("env://"))
        # torchrun keeps its store over restarts: without a name of its own, a start would find where processes of the
        # one before it listened, and wait for them.
        attempt = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=attempt, rank=own, world_size=world)
        if dist.is_torchelastic_launched():
            die_with_parent(os.getppid(), signal.SIGTERM)  # torchrun: then this process saves, and ends
    return chosen


@contextmanager
def one_first() -> Iterator[None]:
    """Rank 0 does it alone, then the others, who find what it wrote: such as packs."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world_size() > 1:
        dist.barrier()


def largest(values: list[float], device: torch.device) -> list[float]:
    """Of every process, number by number; the same everywhere."""
    if world_size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return [float(value) for value in together.tolist()]


def mean(value: float, device: torch.device) -> float:
    """Over every process."""
    if world_size() == 1:
        return value
    together = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(together)
    return together.item() / world_size()


def everyones(value: Any) -> list[Any]:
    """What each process holds, by rank; on other ranks than 0 nothing."""
    if world_size() == 1:
        return [value]
    held: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, held)
    return held or []


def share_weights(network: nn.Module) -> None:
    """Every process gets rank 0's parameters and buffers."""
    if world_size() > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Makes each gradient the mean over processes; one that a process lacks counts as nothing there.

    A parameter without a gradient on any process keeps none: no weight decay then, as with a single process.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        return
    has = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.uint8)
    has = has.to(trained[0].device)
    dist.all_reduce(has, dist.ReduceOp.MAX)
    gradients: list[Tensor] = []
    for parameter, somewhere in zip(trained, has.tolist(), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        flat /= world_size()
        begin = 0
        for gradient in bucket:
            gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
            begin += gradient.numel()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """In order, of one type each."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.nbytes > BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket
