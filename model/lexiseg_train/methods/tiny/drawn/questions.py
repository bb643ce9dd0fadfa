"""The questions that a training asks about photographs, and the sources that both are drawn from.

Concepts are indices into the text table's list of names; text rows are one text each, a template filled with a name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.texts import TextTable
from lexiseg_train.training.crops import Pack

MAX_OWN = 4  # of the data set's own classes in a random question: of the present, and of the absent ones
MAX_FOREIGN = 4  # of other data sets' classes
RIVALS = 0.5  # share of these that are like a class that is present
REPEAT = 0.5  # a class is drawn with its number of photographs ** (1 - REPEAT)
PASTED_WEIGHT = 2.0  # of a pasted object's pixels in the loss, where the data set has no class for it
NO_PHOTOGRAPHS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class LabelSpace:
    """The meaning of the mask values of a data set, or of a photograph: a concept and a loss weight for each class."""

    concepts: NDArray[np.int64]  # [K] of the classes, without background
    has_background: bool
    weights: NDArray[np.float32]  # [K (+1 in front for background)]
    n_pasted: int = 0  # the last classes are of pasted objects: other pixels may be theirs, too
    lone: bool = False  # the first class is that of a photograph's one object: a wider word fits as well

    @classmethod
    def of_object(cls, concept: int, absent: NDArray[np.int64]) -> LabelSpace:
        """Of a photograph with one object, mask value 1, that shows none of the `absent`."""
        concepts = np.array([concept, *absent], np.int64)
        return cls(concepts, True, np.ones(1 + len(concepts), np.float32), lone=True)

    def with_pasted(self, concept: int) -> LabelSpace:
        """With the class of a pasted object, if it is a new one."""
        if concept in self.concepts:
            return replace(self, lone=False)
        weights = np.append(self.weights, np.float32(PASTED_WEIGHT))
        return replace(
            self, concepts=np.append(self.concepts, concept), weights=weights, n_pasted=self.n_pasted + 1, lone=False
        )

    def present(self, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
        rows = np.setdiff1d(np.unique(labels), [IGNORE]).astype(np.int64) - int(self.has_background)
        return self.concepts[rows[rows >= 0]]

    def value(self, concept: int) -> int:
        return int(np.flatnonzero(self.concepts == concept)[0]) + int(self.has_background)

    def undecided(
        self, concepts: NDArray[np.int64], labels: NDArray[np.int64], table: TextTable
    ) -> NDArray[np.bool_] | None:
        """[1 + K, P]: whether a pixel with a label [P] may be one of the concepts [K]; None: labels say it of all.

        One of another data set is surely absent only where the label's own class excludes it. Channel 0 is the
        background, which is never undecided."""
        own = self.concepts[: len(self.concepts) - self.n_pasted]
        unknown = np.flatnonzero(~np.isin(concepts, own))
        if not len(unknown):
            return None
        shift, others = int(self.has_background), concepts[unknown]
        certain = np.ones((256, len(others)), bool)
        same = self.concepts[:, None] == others
        certain[shift : shift + len(self.concepts)] = table.exclusive[np.ix_(self.concepts, others)] | same
        if self.has_background:
            certain[0] = table.rare[others]
        undecided = np.zeros((1 + len(concepts), len(labels)), bool)
        undecided[1 + unknown] = ~certain[labels].T
        return undecided

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
    eligible: NDArray[np.int64]  # photographs for examples: not the ones kept for checks
    objects: tuple[int, ...] = ()  # photographs without classes, with one object that has a mask
    favoured: tuple[int, ...] = ()  # photographs that a fixed share of the examples is drawn from

    def draw_class_first(self, random: np.random.Generator) -> tuple[int, int]:
        """Draw a class by its share, then a photograph that shows it: (mask value, index of the photograph)."""
        index = int(random.choice(len(self.holders), p=self.class_shares))
        photographs = self.holders[index]
        return int(self.mask_values[index]), int(photographs[random.integers(len(photographs))])


def source_of(
    pack: Pack,
    share: float,
    table: TextTable,
    balance: float,
    same_meaning: float,
    usable: Collection[str] | None = None,
) -> Source:
    """Tabulate a pack for drawing; `usable` has the names without suffix of the eligible photographs, None: all."""
    named = np.array([table.index[name] for name in pack.names if name in table.index], np.int64)
    is_eligible = np.array([all(name in table.index for name in present) for present in pack.present])
    if usable is not None:
        is_eligible &= np.array([Path(name).stem in usable for name in pack.photographs])
    eligible = np.flatnonzero(is_eligible)
    if not pack.classes:
        cut = eligible[pack.places[eligible, 3] > 0]
        return Source(pack, share, None, [], named, NO_PHOTOGRAPHS, [], np.zeros(0), eligible, tuple(cut.tolist()))
    first = int(pack.has_background)
    space = LabelSpace.from_pixels(pack.classes, table, pack.areas.sum(0).astype(np.float64), balance)
    background = background_concepts(table, space.concepts, same_meaning) if pack.has_background else []
    mask_values = np.flatnonzero((pack.areas[is_eligible][:, first:] > 0).any(0)) + first
    holders = [np.flatnonzero((pack.areas[:, value] > 0) & is_eligible) for value in mask_values]
    shares = np.array([len(some) for some in holders]) ** (1 - REPEAT)
    return Source(pack, share, space, background, named, mask_values, holders, shares / shares.sum(), eligible)


@dataclass(frozen=True)
class Question:
    """One softmax over the P pixels of an image: the background, if it takes part, then the classes."""

    classes: list[int]  # text rows, one a class
    background: list[int]  # text rows of the words that compete for the background
    with_background: bool
    targets: NDArray[np.int64]  # [P] channel; 255 ignored
    # [channels, P]: the label leaves open whether the pixel is of that channel too, which then does not compete there.
    undecided: NDArray[np.bool_] | None
    weights: NDArray[np.float32] | None  # [channels] of the loss


def background_concepts(table: TextTable, concepts: NDArray[np.int64], same_meaning: float) -> list[int]:
    """The background words, as concepts, without words that mean one of the requested concepts."""
    like = table.likeness[np.ix_(table.background, concepts)].max(1, initial=-1)
    return [int(word) for word, likeness in zip(table.background, like, strict=True) if likeness < same_meaning]


def full_question(
    labels: NDArray[np.uint8], space: LabelSpace, background: list[int], table: TextTable, random: np.random.Generator
) -> Question:
    """Ask for every class of the data set, as its evaluation does, with these concepts as background."""
    flat = labels.reshape(-1).astype(np.int64)
    undecided = space.undecided(space.concepts, flat, table)
    return Question(
        _texts(space, space.concepts, table, random),
        _background_texts(background, space.concepts, table, random),
        space.has_background,
        flat,
        undecided if undecided is None or space.has_background else undecided[1:],
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
    listing = np.concatenate(
        [
            random.permutation(present)[: random.integers(0, MAX_OWN + 1)],
            random.permutation(absent)[: random.integers(0, MAX_OWN + 1)],
        ]
    ).astype(np.int64)
    listed = space.concepts[listing]
    n_foreign = int(random.integers(0 if len(listed) else 1, MAX_FOREIGN + 1))
    concepts = np.concatenate([listed, _foreign(space, present, n_foreign, table, random)]).astype(np.int64)
    background = background_concepts(table, concepts, same_meaning)

    channel_of = np.zeros(256, np.int64)  # of each mask value; a class that is not asked for is background
    channel_of[listing + shift] = np.arange(1, len(listing) + 1)
    channel_of[IGNORE] = IGNORE
    return Question(
        _texts(space, concepts, table, random),
        _background_texts(background, concepts, table, random),
        True,
        channel_of[flat],
        space.undecided(concepts, flat, table),
        None,
    )


def _texts(space: LabelSpace, concepts: NDArray[np.int64], table: TextTable, random: np.random.Generator) -> list[int]:
    """A row of text for each of the concepts that a question asks for."""
    beside, lone = set(concepts.tolist()), int(space.concepts[0]) if space.lone else None
    return [table.draw(concept, random, beside, concept == lone) for concept in concepts.tolist()]


def _background_texts(
    background: list[int], concepts: NDArray[np.int64], table: TextTable, random: np.random.Generator
) -> list[int]:
    beside = set(concepts.tolist())
    return [table.draw(word, random, beside) for word in background]


def _foreign(
    space: LabelSpace, present: NDArray[np.int64], count: int, table: TextTable, random: np.random.Generator
) -> NDArray[np.int64]:
    """So many concepts that the labels do not know, some of them like the `present` rows."""
    alike = np.setdiff1d(table.rivals(space.concepts[present]), space.concepts)
    rivals = random.permutation(alike)[: random.binomial(count, RIVALS)]
    others = np.setdiff1d(np.arange(len(table.concepts)), np.concatenate([space.concepts, rivals]))
    return np.concatenate([rivals, random.permutation(others)[: count - len(rivals)]]).astype(np.int64)
