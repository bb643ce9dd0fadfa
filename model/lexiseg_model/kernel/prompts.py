"""Masks of prompts about one image, compiled: all of the prompt head that every prompt goes through, in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.layers import FOURS, on_lines
from lexiseg_model.kernel.library import call

COARSE, MID, FINE, PIXELS = 48, 32, 24, 96  # channels of the maps that prompts share
ATTENDED = 16  # columns of the filters that attend, of which some are zeros
HIDDEN, JUDGED = 96, 64  # numbers between, of what attends and of what judges
MOST = 4  # masks of a prompt

Floats = NDArray[np.float32]


class Weights(NamedTuple):
    """Of one kind of prompt, as prompts.c reads them, each part made of arrays in this order.

    `filters` of what a prompt says of C channels: [C, 3, 3, COARSE] and [C, MID].

    `body`: scale and shift [COARSE] of the coarse maps; a block, what attends, a block, what attends, a block. A block
    is two `square` convolutions. What attends: [COARSE, ATTENDED], bias; [5 * COARSE, HIDDEN], bias; [HIDDEN, COARSE],
    bias. Then [COARSE, MID] that widens; scale and shift [MID] of the finer maps; two blocks.

    `output` of M masks: [MID, MID] and bias, of which the first FINE multiply what is shared and the next M are added;
    [FINE, MOST] of the products; [MID + PIXELS + 3, JUDGED] and, of each mask, bias [M, JUDGED]; [JUDGED, JUDGED],
    bias; [JUDGED], bias.
    """

    filters: Floats
    body: Floats
    output: Floats


class Shared(NamedTuple):
    """Of an image of 8 h x 8 w pixels: `coarse` [h / 2, w / 2, COARSE], `mid` [h, w, MID], `fine` [FINE, 2 h, 2 w] and
    `pixels` [h, w, PIXELS], all contiguous."""

    coarse: Floats
    mid: Floats
    fine: Floats
    pixels: Floats


def fit() -> bool:
    """Whether there is a kernel, which answers prompts on this processor."""
    return library.ready() and bool(call("prompts_fit"))


def square(filters: Floats, bias: Floats) -> list[Floats]:
    """A convolution [C, C, 3, 3] of the body: at each of 6 x 6 places [36, C in, C out], and bias [C]."""
    places = np.einsum("ya,oiab,xb->yxio", FOURS, filters.astype(np.float64), FOURS)
    return [places.astype(np.float32), bias]


def lengths(channels: int, masks: int) -> tuple[int, int, int]:
    """How many numbers the three parts of `Weights` have, of what a prompt says in so many channels."""
    attends = (COARSE + 1) * ATTENDED + (5 * COARSE + 1) * HIDDEN + (HIDDEN + 1) * COARSE
    coarse, mid = (2 * (36 * width + 1) * width for width in (COARSE, MID))
    body = 2 * COARSE + 3 * coarse + 2 * attends + (COARSE + 2) * MID + 2 * mid
    judged = (MID + PIXELS + 3 + masks + JUDGED + 2) * JUDGED + 1
    return channels * (9 * COARSE + MID), body, (MID + 1) * MID + FINE * MOST + judged


def laid_out(parts: Iterable[Floats]) -> Floats:
    """Arrays one behind the other."""
    flat = [np.ravel(part) for part in parts]
    return np.concatenate(flat, out=on_lines(sum(map(len, flat))))


def answer(
    said: Floats, corners: NDArray[np.int64], shared: Shared, weights: Weights, masks: int
) -> tuple[Floats, Floats]:
    """Answers of 1 or MOST masks each.

    Args:
        said: [N, C, h, w] what each prompt says of some cells; h and w are multiples of 4.
        corners: [N, 2], row and column of the first of them, which are even; all of them lie within the image.
        shared: of the image.
        weights: of this kind of prompts.
        masks: how many each has.

    Returns:
        Logits [N, masks, 2 h, 2 w], and logits [N, masks] of their quality.
    """
    n, channels, height, width = said.shape
    assert tuple(map(len, weights)) == lengths(channels, masks)
    logits = np.empty((n, masks, 2 * height, 2 * width), np.float32)
    quality = np.empty((n, masks), np.float32)
    said, corners = np.ascontiguousarray(said, np.float32), np.ascontiguousarray(corners, np.int64)
    cells = shared.mid.shape[:2]
    call("prompts", said, n, channels, masks, corners, height, width, *cells, *weights, *shared, logits, quality)
    return logits, quality
