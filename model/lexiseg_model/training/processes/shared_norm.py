"""Batch norm over the batches of all processes, on processors too: torch's own SyncBatchNorm is for GPUs alone."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lexiseg_model.training.gather import world_size

Network = TypeVar("Network", bound=nn.Module)


class _Normed(torch.autograd.Function):
    """Torch's own kernels over a process's maps, with one sum over all processes forward and one backward.

    Written as a formula of differentiable parts, it takes several passes over the maps, and its gradients lose the
    layout that convolutions are fast with: a step of `tiny` took three times as long.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        """[N, C, ...] -> the same normed, and of all processes: mean [C], biased variance [C], cells a channel [1]."""
        # `var_mean` over channels-last maps takes 27 times as long.
        mean, variance = torch.batch_norm_update_stats(maps, None, None, 0.0)
        cells = mean.new_full((1,), maps.numel() / maps.shape[1], dtype=torch.float64)
        mean, variance = mean.double(), variance.double()  # else the difference of squares below would cancel
        total = torch.cat([cells * mean, cells * (variance + mean.square()), cells])
        dist.all_reduce(total)
        cells = total[-1:]
        mean, square = (total[:-1] / cells).chunk(2)
        variance = (square - mean.square()).clamp_min(0)
        mean, variance = mean.to(maps.dtype), variance.to(maps.dtype)
        ctx.save_for_backward(maps, weight, mean, variance, cells)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, cells)
        return F.batch_norm(maps, mean, variance, weight, bias, training=False, eps=eps), mean, variance, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, variance, cells = ctx.saved_tensors
        # As if mean and variance were constants; what they add is a line in each channel's values.
        to_maps, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], maps, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        total = torch.cat([to_weight, to_bias])  # every process's loss saw the statistics
        dist.all_reduce(total)
        along, all_bias = (total / cells.to(total.dtype)).chunk(2)
        inverse = torch.rsqrt(variance + ctx.eps)
        slope = -weight * inverse.square() * along
        offset = -weight * inverse * all_bias - slope * mean
        view = _view(maps)
        return to_maps.add_(offset.view(view)).addcmul_(maps, slope.view(view)), to_weight, to_bias, None


class SharedBatchNorm(_BatchNorm):
    """`nn.BatchNorm` whose mean and variance in training are of all processes together; the same names of weights."""

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, ...] -> [N, C, ...]."""
        if not self.training or world_size() == 1:
            normed: Tensor = super().forward(maps)
            return normed
        rows = maps.to(torch.promote_types(maps.dtype, torch.float32))  # sums of half precision are too rough
        weight: Tensor = self.weight if self.affine else rows.new_ones(rows.shape[1])
        bias: Tensor = self.bias if self.affine else rows.new_zeros(rows.shape[1])
        normed, mean, variance, count = _Normed.apply(rows, weight, bias, self.eps)  # type: ignore[no-untyped-call]
        self._remember(mean, variance * (count / (count - 1)))
        shaped: Tensor = normed.to(maps.dtype)
        return shaped

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


def _view(maps: Tensor) -> tuple[int, ...]:
    return 1, -1, *(1 for _ in range(2, maps.ndim))
