"""The processes of a run under torchrun: joining, collectives, averaged gradients.

Gradients are averaged by hand after the backward pass and not by DistributedDataParallel, whose hooks sit in one
module's `forward`: the losses of a method call parts of its network in several passes, and frozen parts change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from lexiseg_model.device import choose_device

BUCKET_BYTES = 25 << 20  # gradients reduced together


def rank() -> int:
    """Rank of this process; 0 without torch.distributed."""
    return dist.get_rank() if _distributed() else 0


def world_size() -> int:
    """Number of processes; 1 without torch.distributed."""
    return dist.get_world_size() if _distributed() else 1


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def join(device: str) -> torch.device:
    """Join the process group that torchrun's environment describes, if any.

    Returns:
        The device of this process; with CUDA the GPU of its local rank.

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
        # torchrun keeps its store over restarts: a prefix keeps addresses of the previous start out of this one.
        attempt = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=attempt, rank=own, world_size=world)
    return chosen


@contextmanager
def one_first() -> Iterator[None]:
    """Run the block in rank 0 before the other ranks, which find the files that it wrote."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world_size() > 1:
        dist.barrier()


def largest(values: list[float], device: torch.device) -> list[float]:
    """Maximum over processes of each number."""
    if world_size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return [float(value) for value in together.tolist()]


def mean(value: float, device: torch.device) -> float:
    """Mean over processes."""
    if world_size() == 1:
        return value
    together = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(together)
    return together.item() / world_size()


def gather_objects(value: Any) -> list[Any]:
    """Objects of all processes by rank, in rank 0; an empty list elsewhere."""
    if world_size() == 1:
        return [value]
    objects: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, objects)
    return objects or []


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        ctx.n_rows = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Every process used these rows in its own loss.
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total.narrow(0, rank() * ctx.n_rows, ctx.n_rows)


def gather(rows: Tensor) -> Tensor:
    """Concatenate rows of all processes with gradients: [B, ...] -> [world * B, ...], in the order of ranks.

    The gradient of a row is the sum over all processes. B is the same in every process.
    """
    if not _distributed():
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def share_weights(network: nn.Module) -> None:
    """Copy parameters and buffers of rank 0 to every process."""
    if world_size() > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over processes; a missing one counts as zero.

    A parameter without a gradient in any process keeps none, and so gets no weight decay, as in a single process.
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
        for gradient, averaged in zip(bucket, torch.split(flat, [each.numel() for each in bucket]), strict=True):
            gradient.copy_(averaged.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive gradients of one type, up to BUCKET_BYTES each."""
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
