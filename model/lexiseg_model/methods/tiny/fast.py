"""A trained module made quick: batch norms folded into convolutions, weights in the device's fast number type, the
blocks of the prompt head by the kernel, and tiles side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.kernel import library
from lexiseg_model.kernel.residual import Filters, fits, residual, transformed
from lexiseg_model.methods.tiny.network import Residual
from lexiseg_model.methods.tiny.prompt_head import PromptHead

Module = TypeVar("Module", bound=nn.Module)


def fused(module: Module) -> Module:
    """Folds every batch norm that follows a convolution in a sequence into it; in place."""

    def walk(parent: nn.Module) -> None:
        for child in parent.children():
            if isinstance(child, nn.Sequential) and len(child) > 1 and isinstance(child[1], nn.BatchNorm2d):
                if isinstance(child[0], nn.Conv2d):
                    child[0] = fuse_conv_bn_eval(child[0], child[1])
                    child[1] = nn.Identity()
            else:
                walk(child)

    walk(module)
    return convert_conv2d_weight_memory_format(module, torch.channels_last)


def in_type(module: Module, dtype: torch.dtype) -> Module:
    """Every weight in `dtype`, but those of batch norms that are left, which take other inputs and lose by it."""
    for part in module.modules():
        if not isinstance(part, _BatchNorm):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return module


class CompiledResidual(nn.Module):
    """As the block that it is made of, whose batch norms are in its convolutions, by a quarter of the products."""

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self.block = block
        self.first, self.second = (_filters(part) for part in (block.first, block.second))

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] float32, channels last."""
        if torch.is_grad_enabled() or not library.ready():
            plain: Tensor = self.block(maps)
            return plain
        made = residual(maps.permute(0, 2, 3, 1).numpy(), self.first, self.second)
        return torch.from_numpy(made).permute(0, 3, 1, 2)


def with_compiled_blocks(head: PromptHead) -> PromptHead:
    """Replaces the blocks that every prompt goes through where there is a kernel for them; in place.

    `head` has its batch norms folded and does nothing but answer.
    """
    for sequence in (head.middle, head.last):
        for name, part in sequence.named_children():
            if isinstance(part, Residual) and _suits(part):
                setattr(sequence, name, CompiledResidual(part))
    return head


def _suits(block: Residual) -> bool:
    weight = _convolution(block.first).weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and fits(len(weight))


def _filters(part: nn.Sequential) -> Filters:
    convolution = _convolution(part)
    assert convolution.bias is not None, "batch norms are not folded"
    return transformed(convolution.weight.detach().numpy(), convolution.bias.detach().numpy())


def _convolution(part: nn.Sequential) -> nn.Conv2d:
    convolution = part[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution


def cores() -> ThreadPoolExecutor:
    """One thread for each core, whose work stays on it.

    For bfloat16 alone: there a layer's result does not depend on how many threads share it, by torch in float32 it
    does in the last bit, and the answer for a tile must not depend on its company.
    """
    return ThreadPoolExecutor(torch.get_num_threads(), "tile", lambda: torch.set_num_threads(1))
