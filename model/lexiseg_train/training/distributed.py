"""What the processes of a run compute together: collectives, averaged gradients, batch norms, sharded networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from lexiseg_train.training.processes import rank, world_size

_ALONE = ContextVar("alone", default=False)  # whether each process has the same rows, which `gather` leaves as they are


def largest(values: list[float], device: torch.device) -> list[float]:
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
    """Rows [B, ...] of all processes, by ranks, with gradients, which are summed; as they are within `alone`."""
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
    of the parameters that are trained now. The group is only for gradients: losses have collectives of their own, and
    their order differs where a process lacks a gradient.
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


def shard(root: LossPass, units: Collection[nn.Module], device: torch.device) -> None:
    """Spread the parameters of a network by FSDP, in place; scalars stay whole, `units` are whole while they compute.

    A parameter without a gradient in any process gets zeros, and so its weight decay.
    """
    mesh = DeviceMesh.from_group(dist.new_group(), device.type)
    scalars = {parameter for parameter in root.parameters() if parameter.ndim == 0}
    for unit in [module for module in reversed(list(root.modules())) if module in units]:  # from the inside out
        fully_shard(unit, mesh=mesh, ignored_params=scalars)
    sharded = fully_shard(root, mesh=mesh, ignored_params=scalars)
    sharded.set_reduce_scatter_unused_params(True)  # processes may use different ones
    root(lambda _: None, None)  # FSDP's root is the module of the first pass: not a unit that validation calls
    sharded.reshard()


@contextmanager
def unsharded(network: nn.Module) -> Iterator[None]:
    """Hold the whole parameters of a sharded network during the block, which every process enters."""
    sharded = [module for module in network.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()


def own_shard(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has; all of it if it is not sharded. Shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def from_shards(tensor: Tensor) -> Tensor:
    """A tensor from its shards, if it is sharded; every process calls it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(state: Any) -> Any:
    """A nest of tensors with whole ones, on the CPU, in place of shards; rank 0 keeps them, every process calls it."""

    def gather_one(shard: DTensor) -> Tensor | None:
        one = shard.full_tensor()
        return one.cpu() if rank() == 0 else None

    return tree_map_only(DTensor, gather_one, state)


def placed_as(whole: Tensor, like: Tensor) -> Tensor:
    """A tensor on the device of another, and sharded like it if the shapes are the same."""
    if isinstance(like, DTensor) and whole.shape == like.shape:
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return whole.to(like.device)
