"""A network with parameters spread over the processes of a run (FSDP), and its tensors, whole and in shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from lexiseg_train.training.distributed import LossPass
from lexiseg_train.training.processes import rank


def shard(root: LossPass, units: Collection[nn.Module], device: torch.device) -> None:
    """Spread the parameters of a network over all processes by FSDP; scalars stay whole.

    They are whole during a pass, and each process keeps its share of the mean gradients. A parameter without a gradient
    in any process gets zeros, and so its weight decay.

    Args:
        root: of a network that is the same in every process; changed in place.
        units: modules in the network that are whole only while they compute, not during the whole pass.
        device: of the network.
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
