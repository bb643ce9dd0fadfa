"""A pack as training draws from it: how often, what its mask values mean, which photographs show which class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.training.drawn.requests import LabelSpace, background_words
from lexiseg_model.methods.tiny.training.texts import TextTable
from lexiseg_model.training.packs import Pack


@dataclass(frozen=True)
class Source:
    """A pack as training draws from it."""

    pack: Pack
    share: float  # of the examples
    space: LabelSpace | None  # None: no photograph has a mask
    words: list[int]  # background words beside its whole class list
    names: NDArray[np.int64]  # concepts of `pack.names`
    by_class: list[NDArray[np.int64]]  # photographs of each class that is in any
    class_shares: NDArray[np.float64]
    values: NDArray[np.int64]  # mask values of the classes of `by_class`

    def drawn_by_class(self, random: np.random.Generator) -> tuple[int, int]:
        """A class, by its share, and one of the photographs that show it: the class's mask value, the photograph."""
        place = int(random.choice(len(self.by_class), p=self.class_shares))
        holders = self.by_class[place]
        return int(self.values[place]), int(holders[random.integers(len(holders))])


def source_of(pack: Pack, share: float, table: TextTable, balance: float, same_meaning: float, repeat: float) -> Source:
    """What is drawn from a pack.

    Args:
        pack: the photographs.
        share: of the examples.
        table: concepts and texts.
        balance: a class's weight in a pixel's loss is frequency ** -balance.
        same_meaning: likeness from which a background word steps aside.
        repeat: a class is drawn with its number of photographs ** (1 - repeat).
    """
    names = np.array([table.index[name] for name in pack.names], np.int64)
    if not pack.classes:
        return Source(pack, share, None, [], names, [], np.zeros(0), np.zeros(0, np.int64))
    first = int(pack.has_background)
    space = LabelSpace.counted(pack.classes, table, pack.areas.sum(0).astype(np.float64), balance)
    words = background_words(table, space.concepts, same_meaning) if pack.has_background else []
    values = np.flatnonzero((pack.areas[:, first:] > 0).any(0)) + first
    holders = [np.flatnonzero(pack.areas[:, value] > 0) for value in values]
    shares = np.array([len(some) for some in holders]) ** (1 - repeat)
    return Source(pack, share, space, words, names, holders, shares / shares.sum(), values)
