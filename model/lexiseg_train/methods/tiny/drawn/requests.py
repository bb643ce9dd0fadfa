"""Sources of training examples: packs, the classes of their mask values, and random questions about a photograph."""

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

REQUEST_OWN = 5  # at most so many of the data set's own classes in a random request
REQUEST_FOREIGN = 4  # and so many of other data sets'


@dataclass(frozen=True)
class LabelSpace:
    """Concepts of the mask values of one data set, and a weight for each."""

    concepts: NDArray[np.int64]  # [K] of the classes, without background
    has_background: bool
    weights: NDArray[np.float32]  # [K (+1 in front for background)]

    @classmethod
    def of(cls, classes: tuple[str, ...], table: TextTable, counts: NDArray[np.float64], balance: float) -> LabelSpace:
        """The label space of classes; `counts` [K (+1)] are the pixels of each mask value."""
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
    """A pack with its share of the examples and the indices by which training draws from it."""

    pack: Pack
    share: float  # of the examples
    space: LabelSpace | None  # None: no photograph has a mask
    words: list[int]  # background words beside its whole class list
    names: NDArray[np.int64]  # concepts of `pack.names`
    by_class: list[NDArray[np.int64]]  # photographs of each class that is in any
    class_shares: NDArray[np.float64]
    values: NDArray[np.int64]  # mask values of the classes of `by_class`
    photographs: NDArray[np.int64]  # that are drawn: all but those kept for the open check
    favoured: tuple[int, ...] = ()  # photographs from which a share of the examples is drawn

    def drawn_by_class(self, random: np.random.Generator) -> tuple[int, int]:
        """A class, by its share, and one of the photographs that show it: the class's mask value, the photograph."""
        place = int(random.choice(len(self.by_class), p=self.class_shares))
        holders = self.by_class[place]
        return int(self.values[place]), int(holders[random.integers(len(holders))])


def source_of(
    pack: Pack,
    share: float,
    table: TextTable,
    balance: float,
    same_meaning: float,
    repeat: float,
    usable: Collection[str] | None = None,
) -> Source:
    """The source of a pack.

    Args:
        pack: the photographs.
        share: of the examples.
        table: concepts and texts.
        balance: a class's weight in a pixel's loss is frequency ** -balance.
        same_meaning: cosine with a class of the pack at which a background word is dropped.
        repeat: a class is drawn with its number of photographs ** (1 - repeat).
        usable: names without suffix of the photographs that are drawn; None: all.
    """
    names = np.array([table.index[name] for name in pack.names if name in table.index], np.int64)
    asked = np.array([all(name in table.index for name in present) for present in pack.present])
    if usable is not None:
        asked &= np.array([Path(name).stem in usable for name in pack.photographs])
    drawn = np.flatnonzero(asked)
    if not pack.classes:
        return Source(pack, share, None, [], names, [], np.zeros(0), np.zeros(0, np.int64), drawn)
    first = int(pack.has_background)
    space = LabelSpace.of(pack.classes, table, pack.areas.sum(0).astype(np.float64), balance)
    words = background_words(table, space.concepts, same_meaning) if pack.has_background else []
    values = np.flatnonzero((pack.areas[asked][:, first:] > 0).any(0)) + first
    holders = [np.flatnonzero((pack.areas[:, value] > 0) & asked) for value in values]
    shares = np.array([len(some) for some in holders]) ** (1 - repeat)
    return Source(pack, share, space, words, names, holders, shares / shares.sum(), values, drawn)


@dataclass(frozen=True)
class Question:
    """One softmax over an image: rows of text, which of them are background words, and each pixel's answer."""

    rows: list[int]  # of the table, one for each class
    words: list[int]  # rows of the background words that compete
    with_background: bool
    answers: NDArray[np.int64]  # [P] channel, background first where there is one; 255 ignored
    forbidden: NDArray[np.bool_] | None  # [channels, P]: not to be trained against
    weights: NDArray[np.float32] | None  # [channels]


def background_words(table: TextTable, concepts: NDArray[np.int64], same_meaning: float) -> list[int]:
    """Concepts of the background words that mean none of the classes asked for."""
    like = table.likeness[np.ix_(table.background, concepts)].max(1, initial=-1)
    return [int(word) for word, likeness in zip(table.background, like, strict=True) if likeness < same_meaning]


def full_question(
    labels: NDArray[np.uint8], space: LabelSpace, words: list[int], table: TextTable, random: np.random.Generator
) -> Question:
    """Every class of the data set, as in its evaluation, against these background words."""
    return Question(
        [table.draw(int(concept), random) for concept in space.concepts],
        [table.draw(word, random) for word in words],
        space.has_background,
        labels.reshape(-1).astype(np.int64),
        None,
        space.weights,
    )


def random_question(
    labels: NDArray[np.uint8], space: LabelSpace, table: TextTable, same_meaning: float, random: np.random.Generator
) -> Question:
    """A question as in a user's request: some classes, present or absent; all other pixels are background."""
    flat = labels.reshape(-1).astype(np.int64)
    shift = int(space.has_background)
    present = np.setdiff1d(np.unique(flat), [IGNORE]) - shift
    present = present[present >= 0]
    absent = np.setdiff1d(np.arange(len(space.concepts)), present)
    chosen = np.concatenate(
        [
            random.permutation(present)[: random.integers(0, REQUEST_OWN)],
            random.permutation(absent)[: random.integers(0, REQUEST_OWN)],
        ]
    ).astype(np.int64)
    listed = space.concepts[chosen]
    foreign = np.setdiff1d(np.arange(len(table.concepts)), space.concepts)
    foreign = random.permutation(foreign)[: random.integers(0 if len(listed) else 1, REQUEST_FOREIGN + 1)]
    concepts = np.concatenate([listed, foreign]).astype(np.int64)
    words = background_words(table, concepts, same_meaning)

    answer_of = np.zeros(256, np.int64)  # every other class is background
    answer_of[chosen + shift] = np.arange(1, len(chosen) + 1)
    answer_of[IGNORE] = IGNORE
    # A foreign class may only be denied where the label excludes it.
    deniable = np.ones((256, len(foreign)), bool)
    deniable[shift : shift + len(space.concepts)] = table.exclusive[np.ix_(space.concepts, foreign)]
    if space.has_background:
        deniable[0] = table.rare[foreign]
    forbidden = np.zeros((1 + len(concepts), len(flat)), bool)
    forbidden[1 + len(listed) :] = ~deniable[flat].T
    return Question(
        [table.draw(int(concept), random) for concept in concepts],
        [table.draw(word, random) for word in words],
        True,
        answer_of[flat],
        forbidden,
        None,
    )
