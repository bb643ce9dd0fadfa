"""Directions of parts in kinds of things (`divide_wholes`), fitted on training photographs of `voc-parts`.

A direction is a logistic regression: which cells of a whole are the part's, in photographs that do not show it none.
Its constant is the one of the highest mean IoU of the part and the rest of the whole, on photographs left out.

python -m lexiseg_train.methods.tiny.part_directions ROOT WEIGHTS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import PART_DIRECTIONS
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import Parts as Kind
from lexiseg_model.methods.tiny.weights import BUNDLED
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.cells import NO_PARTS, NOTHING, Cells, Parts, cells_of_set, rank_of
from lexiseg_train.methods.tiny.publish import logistic

SETS, PACKS = ("voc", "voc-more"), Path("runs/packs")  # as the recipe `tiny-directions` writes them
PHOTOGRAPHS = 1100  # of each set
FEWEST = 10  # photographs that show a part
LEFT_OUT = 4  # one photograph of so many is not fitted on, and gives the constants
NOT_SHOWN = 0.3  # weight of photographs without the part
LEAST = 0.35  # share of all weight that a part's cells have at least
RIDGE = 4e-3  # of the squares of directions; numbers have unit variance
CONSTANTS = np.linspace(-4, 4, 65)


class WholeCells(NamedTuple):
    """N cells of a kind of things: `numbers` [N, D + 120], the value of its part as of `Cells`, its photograph, and
    whether it was drawn as it falls."""

    numbers: NDArray[np.float16]
    part: NDArray[np.uint8]
    photograph: NDArray[np.int32]
    as_it_falls: NDArray[np.bool_]


def cells_of_kind(sets: Sequence[Cells], kind: Kind) -> WholeCells:
    """The cells of the things of that kind that a photograph marks parts of; of others nobody says what is a part."""
    some, before = [], 0
    for cells in sets:
        is_kind = np.isin(cells.value, [value for value, name in enumerate(cells.classes) if name in kind.wholes])
        is_part = is_kind & (cells.part != NOTHING) & (cells.part < NO_PARTS)
        things = cells.photograph * (1 + IGNORE) + cells.value
        rows = np.flatnonzero(is_kind & np.isin(things, things[is_part]))
        photographs = cells.photograph[rows] + np.int32(before)
        some.append((cells.numbers[rows], cells.part[rows], photographs, cells.as_it_falls[rows]))
        before += len(cells.image)
    return WholeCells(*map(np.concatenate, zip(*some, strict=True)))


def fit(cells: WholeCells, part: int, above: Sequence[int] = ()) -> NDArray[np.float32] | None:
    """The direction [D + 121] of the part with that value, its constant last; None: too few photographs show it.

    `above` are the values of parts that may lie on it: whether their cells are its own is not known.
    """
    is_part, known = cells.part == part, ~np.isin(cells.part, [IGNORE, *above])
    is_left_out = cells.photograph % LEFT_OUT == 0
    showing = np.unique(cells.photograph[is_part & ~is_left_out])
    if len(showing) < FEWEST:
        return None
    rows = np.flatnonzero(known & ~is_left_out)
    numbers, right, photograph = cells.numbers[rows].astype(np.float32), is_part[rows], cells.photograph[rows]
    mean, deviation = numbers.mean(0), numbers.std(0) + 1e-3
    weights = np.where(np.isin(photograph, showing), 1.0, NOT_SHOWN) / np.bincount(photograph)[photograph]
    weights /= weights.sum()
    weights[right] *= max(1.0, LEAST / weights[right].sum())
    inputs = np.column_stack([(numbers - mean) / deviation, np.ones(len(rows), np.float32)])
    *weight, bias = logistic(inputs, right, weights / weights.sum(), np.array([RIDGE] * len(mean) + [0.0]))
    direction = np.array(weight) / deviation
    products = cells.numbers.astype(np.float32) @ direction + bias - direction @ mean
    judged = known & is_left_out & cells.as_it_falls
    judged &= np.isin(cells.photograph, cells.photograph[judged & is_part])
    constant = best_constant(products[judged], is_part[judged], cells.photograph[judged]) if judged.any() else 0.0
    return np.append(direction, bias - direction @ mean + constant).astype(np.float32)


def best_constant(products: NDArray[np.floating], is_part: NDArray[np.bool_], photograph: NDArray[np.int32]) -> float:
    """What to add to products [N] so that those above 0 are the part's: by the mean IoU of it and the rest."""
    _, first = np.unique(photograph, return_index=True)  # cells of a photograph stand together
    won = products + CONSTANTS[:, None] > 0
    ious = [
        np.add.reduceat(one & other, first, 1, int) / np.add.reduceat(one | other, first, 1, int).clip(1)
        for one, other in ((won, is_part), (~won, ~is_part))
    ]
    return float(CONSTANTS[np.mean(ious, (0, 2)).argmax()])


def main(root: Path, weights: Path, packs: Path = PACKS, most: int = PHOTOGRAPHS) -> None:
    """Write the bundled weights with new directions of parts; one that too few photographs show stays."""
    segmenter = catalogue.load("tiny", device="cpu", precision="exact")
    assert isinstance(segmenter, TinySegmenter)
    names = Parts(root).names
    sets = [cells_of_set(segmenter, root, packs, name, most) for name in SETS]
    tensors = read_weights(BUNDLED, None)
    rows = tensors[PART_DIRECTIONS].clone()
    for kind in segmenter.settings.parts:
        cells = cells_of_kind(sets, kind)
        for value, name in enumerate(names, 1):
            above = [1 + place for place, other in enumerate(names) if rank_of(other) > rank_of(name)]
            if kind.directions.get(name, -1) >= 0 and (direction := fit(cells, value, above)) is not None:
                print(f"{min(kind.wholes)}: {name}", flush=True)
                rows[kind.directions[name]] = torch.from_numpy(direction).to(rows)
    save_file(tensors | {PART_DIRECTIONS: rows}, weights)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
