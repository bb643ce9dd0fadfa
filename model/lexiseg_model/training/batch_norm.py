"""Batch norm over the batches of all processes, also on CPUs: torch's SyncBatchNorm needs GPUs."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lexiseg_model.training.distributed import gather, world_size

Network = TypeVar("Network", bound=nn.Module)


class SharedBatchNorm(_BatchNorm):
    """`nn.BatchNorm` with mean and variance of all processes' batches; weights have the same names."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [N, C, ...]; the shape stays."""
        if not self.training or world_size() == 1:
            normed: Tensor = super().forward(maps)
            return normed
        rows = maps.to(torch.promote_types(maps.dtype, torch.float32))
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
        return torch.addcmul(offset.to(rows).view(shape), rows, scale.to(rows).view(shape)).to(maps.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm of {list(input.shape)}; expected [N, C, ...]")

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
