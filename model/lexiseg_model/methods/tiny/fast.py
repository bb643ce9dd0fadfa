"""A trained module made quick: batch norms folded into convolutions, weights in the device's fast number type."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

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
