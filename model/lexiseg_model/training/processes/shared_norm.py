"""Batch norm over the batches of all processes, on processors too: torch's own SyncBatchNorm is for GPUs alone."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lexiseg_model.training.gather import world_size

Network = TypeVar("Network", bound=nn.Module)


class _Sum(torch.autograd.Function):
    """Over processes, forward and backward: every process's loss saw the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """`nn.BatchNorm` whose mean and variance in training are of all processes together; the same names of weights."""

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, ...] -> [N, C, ...]."""
        if not self.training or world_size() == 1:
            normed: Tensor = super().forward(maps)
            return normed
        across = [0, *range(2, maps.ndim)]
        view = (1, -1, *(1 for _ in across[1:]))
        rows = maps.to(torch.promote_types(maps.dtype, torch.float32))  # sums of half precision are too rough
        own = rows.new_full((1,), rows.numel() / rows.shape[1])
        total = _summed(torch.cat([rows.sum(across), own]))
        count = total[-1].detach()
        mean = total[:-1] / count
        variance = _summed((rows - mean.view(view)).square().sum(across)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normed = (rows - mean.view(view)) * torch.rsqrt(variance + self.eps).view(view)
        if self.affine:
            normed = normed * self.weight.view(view) + self.bias.view(view)
        return normed.to(maps.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm of {list(input.shape)}; expected [N, C, ...]")

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def share_norms(network: Network) -> Network:
    """The network with every batch norm within it shared by all processes; as it is where there is but one."""
    if world_size() == 1:
        return network
    if next(network.parameters()).is_cuda:
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for name, module in list(network.named_modules()):
        if name and isinstance(module, _BatchNorm) and not isinstance(module, SharedBatchNorm):
            owner, _, own_name = name.rpartition(".")
            setattr(network.get_submodule(owner), own_name, _shared(module))
    return network


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name, parameter in norm.named_parameters():
        setattr(shared, name, parameter)
    for name, buffer in norm.named_buffers():
        setattr(shared, name, buffer)
    shared.training = norm.training
    return shared


def _summed(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return total
