"""Residual blocks of two 3 x 3 convolutions over small maps, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.layers import FOURS
from lexiseg_model.kernel.library import call


class Filters(NamedTuple):
    """Of a convolution of C channels to C: at each of 6 x 6 places, float32 [36, C in, C out], and bias [C]."""

    places: NDArray[np.float32]
    bias: NDArray[np.float32]


def fits(channels: int) -> bool:
    """Whether there is a kernel, which does blocks of so many channels on this processor."""
    return library.ready() and bool(call("residual_fits", channels))


def transformed(filters: NDArray[np.float32], bias: NDArray[np.float32]) -> Filters:
    """Of filters [C out, C in, 3, 3] and bias [C]."""
    places = np.einsum("ya,oiab,xb->yxio", FOURS, filters.astype(np.float64), FOURS)
    return Filters(
        np.ascontiguousarray(places.reshape(36, *filters.shape[1::-1]), np.float32),
        np.ascontiguousarray(bias, np.float32),
    )


def residual(maps: NDArray[np.float32], first: Filters, second: Filters) -> NDArray[np.float32]:
    """relu(second(relu(first(maps))) + maps), each convolution amid zeros.

    Args:
        maps: [N, h, w, C], of channels that `fits` says.
        first: the convolution that comes first.
        second: the one that follows.

    Returns:
        [N, h, w, C]
    """
    maps = np.ascontiguousarray(maps, np.float32)
    made = np.empty_like(maps)
    call("residual", maps, *maps.shape, *first, *second, made)
    return made
