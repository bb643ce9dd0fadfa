"""What the processes of a run compute together: collectives, averaged gradients, batch norms over all batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from lexiseg_train.training.processes import rank, world_size

_ALONE = ContextVar("alone", default=False)  # whether each process has the same rows, which `gather` leaves as they are


def largest(values: list[float], device: torch.device) -> list[float]:
    """Maximum over processes of each number."""
    if world_size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return [float(value) for value in together.tolist()]


def mean_over_processes(number: Tensor) -> Tensor:
    """Mean over processes of a number, which may be changed in place."""
    if world_size() > 1:
        dist.all_reduce(number)
    return number / world_size()


def gather_objects(value: Any) -> list[Any]:
    """Objects of all processes by rank, in rank 0; an empty list elsewhere."""
    if world_size() == 1:
        return [value]
    objects: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, objects)
    return objects or []


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is the sum over all of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def gather(rows: Tensor) -> Tensor:
    """Concatenate rows [B, ...] of all processes with gradients, in the order of ranks: [world * B, ...].

    The gradient of a row is the sum over all processes. B is the same in every process. Within `alone` the rows are
    returned as they are.
    """
    if world_size() == 1 or _ALONE.get():
        return rows
    gathered: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def place() -> int:
    """The place of this process's rows in what `gather` returns, in numbers of processes."""
    return 0 if _ALONE.get() else rank()


@contextmanager
def alone() -> Iterator[None]:
    """Losses within do not gather: in validation every process has the same rows, and would contrast each with copies
    of itself."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def mean_of_notes(noted: dict[str, list[float]]) -> dict[str, float]:
    """The mean of each figure over all processes that noted it, in rank 0; elsewhere over the process's own."""
    together: dict[str, list[float]] = {}
    for notes in gather_objects(noted) or [noted]:
        for name, values in notes.items():
            together.setdefault(name, []).extend(values)
    return {name: math.fsum(values) / len(values) for name, values in together.items()}


def share_weights(network: nn.Module) -> None:
    """Copy parameters and buffers of rank 0 to every process."""
    if world_size() > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, 0)


class LossPass(nn.Module):
    """A loss as one forward pass of a module with its parameters: DDP and FSDP hook into that."""

    def __init__(self, parameters: nn.Module) -> None:
        super().__init__()
        self.trained = parameters

    def forward(self, loss: Callable[[Any], Any], batch: Any) -> Any:
        return loss(batch)


def averaged(parameters: Iterable[nn.Parameter], group: dist.ProcessGroup) -> DistributedDataParallel:
    """A `LossPass`. Its backward pass replaces each gradient by its mean over processes, while it computes others.

    A parameter without a gradient in any process keeps none, and so gets no weight decay, as in a single process. It is
    of the parameters that are trained now.

    Args:
        parameters: all that the loss trains.
        group: only for gradients: losses have collectives of their own, and their order differs where a process
            lacks a gradient.
    """
    return DistributedDataParallel(
        LossPass(nn.ParameterList(parameters)),
        forward_sync_buffers=False,
        find_unused_parameters=True,
        init_sync=False,
        process_group=group,
    )


Network = TypeVar("Network", bound=nn.Module)


class SharedBatchNorm(nn.SyncBatchNorm):
    """`nn.SyncBatchNorm` that works on a CPU, too."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [N, C, ...]; the shape stays."""
        if input.is_cuda or not self.training or world_size() == 1:
            return super().forward(input)
        rows = input.to(torch.promote_types(input.dtype, torch.float32))
        over = [axis for axis in range(rows.ndim) if axis != 1]
        # Each process's own mean and centred square: sums of squares would cancel where maps are far from zero.
        cells = rows.new_tensor([rows.numel() / rows.shape[1]], dtype=torch.float64)
        variance, mean = torch.var_mean(rows, over, correction=0)
        parts = gather(torch.cat([cells, mean.double(), variance.double()])[None])  # [world, 1 + 2 C]
        cells, means, variances = torch.split(parts, [1, rows.shape[1], rows.shape[1]], 1)
        total = cells.sum()
        mean = (cells * means).sum(0) / total
        variance = (cells * (variances + (means - mean).square())).sum(0) / total
        self._update_running(mean.detach(), variance.detach() * total / (total - 1))
        shape = (1, -1, *(1 for _ in over[1:]))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        offset = -mean * scale if not self.affine else self.bias - mean * scale
        return torch.addcmul(offset.to(rows).view(shape), rows, scale.to(rows).view(shape)).to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def share_norms(network: Network) -> Network:
    """Replace every batch norm within a network by one that all processes share; a single process keeps its own."""
    for name, norm in list(network.named_modules()) if world_size() > 1 else ():
        if name and isinstance(norm, _BatchNorm):
            shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            shared._parameters, shared._buffers = norm._parameters, norm._buffers
            owner, _, own_name = name.rpartition(".")
            setattr(network.get_submodule(owner), own_name, shared.train(norm.training))
    return network
