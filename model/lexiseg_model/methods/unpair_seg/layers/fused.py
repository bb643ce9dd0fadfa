"""The fused kernel of deformable attention for CUDA, taken where mmcv is installed with its compiled operators.

mmcv builds `mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction` for one version of torch and CUDA each,
so nothing here depends on it; without it the plain formula is used. Its arguments are those of `sample_levels`, with
the sizes as tensors:

    apply(value              [N, S, heads, D]     float32, contiguous; all levels one after the other
          spatial_shapes     [levels, 2]          int64, (height, width)
          level_start_index  [levels]             int64, the first cell of each level among the S
          sampling_locations [N, Q, heads, levels, points, 2]  (x, y) in 0..1; half-pixel centres, zeros beyond
          attention_weights  [N, Q, heads, levels, points]
          im2col_step        int)                 images a launch; N divides by it
    -> [N, Q, heads * D]
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger("lexiseg.unpair_seg")

LIBRARY = "mmcv"
MODULE, FUNCTION = "mmcv.ops.multi_scale_deform_attn", "MultiScaleDeformableAttnFunction"


@cache
def kernel() -> Any | None:
    """mmcv's autograd function, None where it is not installed or does not load (which is logged)."""
    if find_spec(LIBRARY) is None:
        return None
    try:
        return getattr(import_module(MODULE), FUNCTION)
    except (ImportError, OSError, AttributeError) as error:
        logger.warning("mmcv is installed without the operator of deformable attention, plain torch does it: %s", error)
        return None


def takes(values: Tensor) -> bool:
    """Whether the kernel is here and these values are on a device of its kind."""
    return values.is_cuda and kernel() is not None


def sample_levels(values: Tensor, sizes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor) -> Tensor:
    """`deformable.sample_levels` by the kernel; only where it is here."""
    shapes, firsts = _places(tuple(sizes), values.device)
    function = kernel()
    assert function is not None
    sampled: Tensor = function.apply(
        values.contiguous(), shapes, firsts, places.contiguous(), weights.contiguous(), len(values)
    )
    return sampled


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # training reads them, too
def _places(sizes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sizes of the levels [levels, 2] and their first cells [levels]; kept as `cell_centres` are."""
    shapes = torch.tensor(sizes, dtype=torch.int64, device=device)
    cells = shapes.prod(1)
    return shapes, cells.cumsum(0) - cells
