"""Questions about cells: which names compete for one, which is right, and which are surely absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.cells import NO_PARTS, Cells
from lexiseg_train.methods.tiny.directions.parts import NOTHING
from lexiseg_train.methods.tiny.texts import TextTable
from lexiseg_train.training.stream import Stream

UNLIKE = 0.55  # cosine of two names below which one's cells are not the other's
GROUP = 256  # examples of one set, in a batch
UNKNOWN, NONE = -2, -1  # in place of a name: not known, none of the set's names


class SetCells(NamedTuple):
    """What the labels of a set say, of K names, and what its photographs are."""

    cells: Cells
    presence: Tensor  # [P, K] of the names in the scores of each photograph
    folds: NDArray[np.int64]  # [P]
    own: NDArray[np.bool_]  # [K] its names
    parts: NDArray[np.bool_]  # [K] names of parts, if it marks any
    name: NDArray[np.int64]  # [N] of each cell, UNKNOWN or NONE
    part: NDArray[np.int64]
    as_they_fall: NDArray[np.int64]  # rows to draw from
    of_names: list[NDArray[np.int64]]
    of_parts: list[NDArray[np.int64]]


class Batch(NamedTuple):
    """B examples.

    `numbers` [B, D + 120]; `presence` [B, K] of all names in their scores; `competing` [B, K] bool, names that compete,
    and whether nothing does, too; `target` [B], the right one or NONE; `absent` [B, K] bool, names that surely are not
    there; `fold` [B] of the photograph.
    """

    numbers: Tensor
    presence: Tensor
    competing: Tensor
    with_nothing: Tensor
    target: Tensor
    absent: Tensor
    fold: Tensor


def count_photographs(sets: Sequence[Cells], part_names: Sequence[str]) -> dict[str, int]:
    """How many photographs show each name."""
    counts: dict[str, int] = {}
    for cells in sets:
        names = [(cells.value, value, name) for value, name in enumerate(cells.classes) if name != BACKGROUND]
        names += [(cells.part, value, name) for value, name in enumerate(part_names, 1)]
        for values, value, name in names:
            n_photographs = len(np.unique(cells.photograph[values == value]))
            counts[name] = counts.get(name, 0) + n_photographs
    return counts


def set_cells(
    cells: Cells, presence: Tensor, folds: NDArray[np.int64], names: Sequence[str], part_names: Sequence[str]
) -> SetCells:
    """What a set says of the names."""
    index = {name: place for place, name in enumerate(names)}
    of_value = np.full(IGNORE + 1, UNKNOWN)
    of_value[: len(cells.classes)] = [index.get(name, UNKNOWN) for name in cells.classes]
    of_part = np.full(IGNORE + 1, UNKNOWN)
    of_part[1 : 1 + len(part_names)] = [index.get(name, UNKNOWN) for name in part_names]
    of_part[NOTHING] = NONE
    if cells.has_background:
        of_value[0] = NONE
    name, part = of_value[cells.value], of_part[cells.part]
    own, parts = np.isin(np.arange(len(names)), of_value), np.zeros(len(names), bool)
    if (cells.part != NO_PARTS).any():
        parts[np.unique(of_part[of_part >= 0])] = True
    usable = name != UNKNOWN
    groups = [np.flatnonzero(usable & (name == each)) for each in np.unique(name[usable])]
    of_parts = [np.flatnonzero(usable & (part == each)) for each in np.unique(part[usable]) if each >= 0]
    fallen = np.flatnonzero(usable & cells.as_it_falls)
    return SetCells(cells, presence, folds, own, parts, name, part, fallen, groups, of_parts)


def exclusive(table: TextTable, names: Sequence[str], parts: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """[K, K]: a cell of the row's name is not of the column's; a part may be of what its whole is like."""
    places = [table.index[name] for name in names]
    apart = (table.exclusive & (table.likeness < UNLIKE))[np.ix_(places, places)]
    index = {name: place for place, name in enumerate(names)}
    by_whole: dict[str, list[int]] = {}
    for part, whole in parts:
        if part in index:
            by_whole.setdefault(whole, []).append(index[part])
    for whole, places_of in by_whole.items():
        own = np.array(places_of)
        apart[np.ix_(own, own)] = False
        if whole in index:
            like = np.append(np.flatnonzero(~apart[index[whole]]), index[whole])
            apart[np.ix_(own, like)] = apart[np.ix_(like, own)] = False
    return apart


class CellBatches(Stream[Batch]):
    """Batches of `groups` of GROUP cells of a set, by the sets' shares; `apart` is as of `exclusive`."""

    def __init__(
        self, sets: Sequence[SetCells], shares: NDArray[np.float64], apart: NDArray[np.bool_], groups: int, seed: int
    ) -> None:
        self.sets, self.shares, self.apart, self.groups, self.seed = sets, shares, apart, groups, seed

    def make(self, number: int, random: np.random.Generator) -> Batch:
        places = random.choice(len(self.sets), self.groups, p=self.shares)
        return Batch(*map(torch.cat, zip(*(self._of_set(self.sets[place], random) for place in places), strict=True)))

    def _of_set(self, cells: SetCells, random: np.random.Generator) -> Batch:
        """Half of the cells as they fall, half of names, or parts, that are drawn alike."""
        groups = [cells.of_names, cells.of_parts] if cells.of_parts else [cells.of_names]
        balanced = [_one_of(random, group) for group in groups for _ in range(GROUP // 2 // len(groups))]
        rows = np.concatenate([random.choice(cells.as_they_fall, GROUP // 2), np.array(balanced)])
        return self.examples(cells, rows, random)

    def examples(self, cells: SetCells, rows: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """The cells of some rows of a set. Where parts are marked, they are asked in two of three questions, and the
        wholes in two of three."""
        photograph, name, part = cells.cells.photograph[rows], cells.name[rows], cells.part[rows]
        kind = np.where(part == UNKNOWN, 0, random.integers(0, 3, len(rows)))  # wholes, both, parts
        asks_own, asks_parts = (kind < 2)[:, None], (kind > 0)[:, None]
        competing = (asks_own & cells.own) | (asks_parts & cells.parts)
        target = np.where(kind == 0, name, np.where(part >= 0, part, np.where(kind == 1, name, NONE)))
        label = np.where(part >= 0, part, name)
        absent = self.apart[np.maximum(name, 0)] & self.apart[np.maximum(label, 0)] & (name >= 0)[:, None]
        return Batch(
            torch.from_numpy(cells.cells.numbers[rows]).float(),
            cells.presence[torch.from_numpy(photograph).long()],
            torch.from_numpy(competing),
            torch.from_numpy((kind == 2) | cells.cells.has_background),
            torch.from_numpy(target),
            torch.from_numpy(absent),
            torch.from_numpy(cells.folds[photograph]),
        )


def _one_of(random: np.random.Generator, groups: list[NDArray[np.int64]]) -> np.int64:
    group = groups[int(random.integers(len(groups)))]
    return np.int64(group[int(random.integers(len(group)))])
