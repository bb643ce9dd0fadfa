"""The questions that a training asks about photographs, and the sources that both are drawn from.

Concepts are indices into the text table's list of names; text rows are one text each, a template filled with a name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.texts import TextTable
from lexiseg_train.training.packs import Pack

MAX_OWN = 4  # of the data set's own classes in a random question: of those present, and of those absent
MAX_FOREIGN = 4  # of other data sets' classes


@dataclass(frozen=True)
class LabelSpace:
    """The meaning of one data set's mask values: a concept and a loss weight for each class."""

    concepts: NDArray[np.int64]  # [K] of the classes, without background
    has_background: bool
    weights: NDArray[np.float32]  # [K (+1 in front for background)]

    @classmethod
    def from_pixels(
        cls, classes: tuple[str, ...], table: TextTable, counts: NDArray[np.float64], balance: float
    ) -> LabelSpace:
        """Weigh classes by `counts` [K (+1)], the pixels of each mask value, to the power of -`balance`."""
        names = [name for name in classes if name != BACKGROUND]
        share = (counts + counts.sum() * 1e-5) / counts.sum()
        weights = share**-balance
        weights /= (weights * share).sum()  # the mean over pixels stays 1
        return cls(
            np.array([table.index[name] for name in names]),
            classes[0] == BACKGROUND,
            np.clip(weights, 0.2, 6.0).astype(np.float32),
        )


@dataclass(frozen=True)
class Source:
    """A pack of photographs, its share of the examples, and the tables by which photographs and classes are drawn."""

    pack: Pack
    share: float  # of the examples
    space: LabelSpace | None  # None: no photograph has a mask
    background: list[int]  # concepts that stand for background where the whole class list is asked
    named: NDArray[np.int64]  # concepts of `pack.names`
    mask_values: NDArray[np.int64]  # [C] of the classes that any eligible photograph shows
    holders: list[NDArray[np.int64]]  # C lists of the photographs that show each
    class_shares: NDArray[np.float64]  # [C] how often each is drawn
    eligible: NDArray[np.int64]  # photographs for examples: not those kept for checks
    favoured: tuple[int, ...] = ()  # photographs that a fixed share of the examples is drawn from

    def draw_class_first(self, random: np.random.Generator) -> tuple[int, int]:
        """Draw a class by its share, then a photograph that shows it: (mask value, index of the photograph)."""
        drawn = int(random.choice(len(self.holders), p=self.class_shares))
        photographs = self.holders[drawn]
        return int(self.mask_values[drawn]), int(photographs[random.integers(len(photographs))])


def source_of(
    pack: Pack,
    share: float,
    table: TextTable,
    balance: float,
    same_meaning: float,
    repeat: float,
    usable: Collection[str] | None = None,
) -> Source:
    """Tabulate a pack for drawing.

    Args:
        pack: the photographs.
        share: of the examples.
        table: concepts and texts.
        balance: a class's weight in a pixel's loss is frequency ** -balance.
        same_meaning: cosine with a class of the pack at which a background word is dropped.
        repeat: a class is drawn with its number of photographs ** (1 - repeat).
        usable: names without suffix of the eligible photographs; None: all whose names the table has.
    """
    named = np.array([table.index[name] for name in pack.names if name in table.index], np.int64)
    is_eligible = np.array([all(name in table.index for name in present) for present in pack.present])
    if usable is not None:
        is_eligible &= np.array([Path(name).stem in usable for name in pack.photographs])
    eligible = np.flatnonzero(is_eligible)
    if not pack.classes:
        return Source(pack, share, None, [], named, np.zeros(0, np.int64), [], np.zeros(0), eligible)
    first = int(pack.has_background)
    space = LabelSpace.from_pixels(pack.classes, table, pack.areas.sum(0).astype(np.float64), balance)
    background = background_concepts(table, space.concepts, same_meaning) if pack.has_background else []
    mask_values = np.flatnonzero((pack.areas[is_eligible][:, first:] > 0).any(0)) + first
    holders = [np.flatnonzero((pack.areas[:, value] > 0) & is_eligible) for value in mask_values]
    shares = np.array([len(some) for some in holders]) ** (1 - repeat)
    return Source(pack, share, space, background, named, mask_values, holders, shares / shares.sum(), eligible)


@dataclass(frozen=True)
class Question:
    """One softmax over the P pixels of an image: its channels, and the right one of each pixel.

    Channels are the background, if it takes part, and then the classes.
    """

    classes: list[int]  # text rows, one a class
    background: list[int]  # text rows of the words that compete for the background
    with_background: bool
    targets: NDArray[np.int64]  # [P] channel; 255 ignored
    # [channels, P]: the label leaves open whether the pixel is of that channel too, which then does not compete there.
    undecided: NDArray[np.bool_] | None
    weights: NDArray[np.float32] | None  # [channels] of the loss


def background_concepts(table: TextTable, asked: NDArray[np.int64], same_meaning: float) -> list[int]:
    """The background words, as concepts, without those that mean one of the concepts asked for."""
    like = table.likeness[np.ix_(table.background, asked)].max(1, initial=-1)
    return [int(word) for word, likeness in zip(table.background, like, strict=True) if likeness < same_meaning]


def full_question(
    labels: NDArray[np.uint8], space: LabelSpace, background: list[int], table: TextTable, random: np.random.Generator
) -> Question:
    """Ask for every class of the data set, as its evaluation does, with these concepts as background."""
    return Question(
        [table.draw(int(concept), random) for concept in space.concepts],
        [table.draw(word, random) for word in background],
        space.has_background,
        labels.reshape(-1).astype(np.int64),
        None,
        space.weights,
    )


def random_question(
    labels: NDArray[np.uint8], space: LabelSpace, table: TextTable, same_meaning: float, random: np.random.Generator
) -> Question:
    """Ask as a user's request does: for some classes, present or absent; all other pixels are background."""
    flat = labels.reshape(-1).astype(np.int64)
    shift = int(space.has_background)
    present = np.setdiff1d(np.unique(flat), [IGNORE]) - shift
    present = present[present >= 0]
    absent = np.setdiff1d(np.arange(len(space.concepts)), present)
    chosen = np.concatenate(
        [
            random.permutation(present)[: random.integers(0, MAX_OWN + 1)],
            random.permutation(absent)[: random.integers(0, MAX_OWN + 1)],
        ]
    ).astype(np.int64)
    listed = space.concepts[chosen]
    foreign = np.setdiff1d(np.arange(len(table.concepts)), space.concepts)
    foreign = random.permutation(foreign)[: random.integers(0 if len(listed) else 1, MAX_FOREIGN + 1)]
    concepts = np.concatenate([listed, foreign]).astype(np.int64)
    background = background_concepts(table, concepts, same_meaning)

    channel_of = np.zeros(256, np.int64)  # of each mask value; a class that is not asked for is background
    channel_of[chosen + shift] = np.arange(1, len(chosen) + 1)
    channel_of[IGNORE] = IGNORE
    # Labels do not know other data sets' classes: one is surely absent only where the label's own class excludes it.
    excludes = np.ones((256, len(foreign)), bool)
    excludes[shift : shift + len(space.concepts)] = table.exclusive[np.ix_(space.concepts, foreign)]
    if space.has_background:
        excludes[0] = table.rare[foreign]
    undecided = np.zeros((1 + len(concepts), len(flat)), bool)
    undecided[1 + len(listed) :] = ~excludes[flat].T
    return Question(
        [table.draw(int(concept), random) for concept in concepts],
        [table.draw(word, random) for word in background],
        True,
        channel_of[flat],
        undecided,
        None,
    )
