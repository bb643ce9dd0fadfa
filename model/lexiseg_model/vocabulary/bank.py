"""The bank of a vocabulary: vectors of its classes, by words and by examples, and of what competes with them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.banks.crowd import Crowd
from lexiseg_model.segmenter import ExampleVectors, RowsOf, Segmenter, TextBank, TextRows
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.examples import apart_from, vectors_of, with_examples


def needed_texts(segmenter: Segmenter, vocabulary: Vocabulary) -> list[str]:
    """The texts whose rows the scores of a vocabulary need: of its classes, and of what may be nobody's."""
    words = () if vocabulary.background is None else _words_of(segmenter, vocabulary.background)
    return [text for entries in (vocabulary.classes, words) if entries for text in segmenter.texts(entries)]


def bank_of(segmenter: Segmenter, vocabulary: Vocabulary, rows_of: RowsOf) -> TextBank:
    """Vectors of the classes and, behind them, of the background words that compete with them.

    Raises:
        TaskError: a class has examples, and the method takes none.
    """
    classes = vocabulary.classes
    shown = vectors_of(segmenter, classes)
    texts = segmenter.texts(classes)
    rows = rows_of(texts) if texts else None
    words = () if vocabulary.background is None else _words_of(segmenter, vocabulary.background)
    word_rows = rows_of(segmenter.texts(words)) if words else None

    def make() -> TextBank:
        return _made(segmenter, (classes, rows), (words, word_rows), shown)

    if shown or segmenter.banks is None:
        return make()
    # Rows are compared, not trusted: a bank is only ever that of the rows that were got.
    return segmenter.banks.once((classes, words), (rows, word_rows), make)


def _made(
    segmenter: Segmenter,
    asked: tuple[tuple[ClassEntry, ...], TextRows | None],
    background: tuple[tuple[ClassEntry, ...], TextRows | None],
    shown: dict[int, ExampleVectors],
) -> TextBank:
    """The bank of classes with their rows, before background words with theirs."""
    (classes, rows), (words, word_rows) = asked, background
    if word_rows is not None:
        words, word_rows = words_apart(segmenter, (words, word_rows), classes, rows, shown)
    if word_rows is not None:
        rows = word_rows if rows is None else np.concatenate([rows, word_rows])
    bank = None if rows is None else segmenter.text_bank(classes + words, rows)
    if bank is not None:
        # Fitted for what is asked for, beside words that stand for nobody as they are.
        levels = None if bank.levels is None else _of_classes(bank.levels, bank.owner < len(classes))
        bank = replace(bank, levels=levels, n_background=len(words))
    if bank is not None and not shown:
        return bank
    return replace(with_examples(bank, shown, len(classes) + len(words)), n_background=len(words))


def _of_classes(levels: Tensor, is_class: NDArray[np.bool_]) -> Tensor:
    """Levels [T] of texts, 0 where they are of no class."""
    if levels.device.type == "cpu":
        return torch.from_numpy(levels.numpy() * is_class)
    return levels * torch.from_numpy(is_class).to(levels.device)


def words_as_one(bank: TextBank) -> TextBank:
    """The same with all background words as one class, whose texts they are: of them only the best counts."""
    if bank.n_background < 2:
        return bank
    first = bank.n_classes - bank.n_background

    def merge() -> TextBank:
        return replace(bank, owner=np.minimum(bank.owner, first), n_classes=first + 1, n_background=1)

    return bank.once("words as one", merge)


def highest_per_class(of_texts: Tensor, bank: TextBank) -> Tensor:
    """[T] of texts -> [K] of each class's highest."""
    if len(of_texts) == bank.n_classes:
        return of_texts
    owner = torch.from_numpy(bank.owner).to(of_texts.device)
    return of_texts.new_full((bank.n_classes,), -math.inf).scatter_reduce_(0, owner, of_texts, "amax")


def directions(bank: TextBank) -> Tensor:
    """Its vectors at length 1, as those of texts are."""
    return F.normalize(bank.vectors, dim=1) if bank.has_examples else bank.vectors


def _words_of(segmenter: Segmenter, background: Background) -> tuple[ClassEntry, ...]:
    words = segmenter.card.background.words if background.words is None else background.words
    return _entries(tuple(words))


@lru_cache(16)
def _entries(words: tuple[str, ...]) -> tuple[ClassEntry, ...]:
    """Asked for with every question: the same words, one by one, as classes."""
    return tuple(map(ClassEntry, words))


def words_apart(
    segmenter: Segmenter,
    background: tuple[tuple[ClassEntry, ...], TextRows],
    classes: tuple[ClassEntry, ...],
    rows: TextRows | None,
    shown: dict[int, ExampleVectors],
) -> tuple[tuple[ClassEntry, ...], TextRows | None]:
    """The background words that compete, and their rows.

    A word that means the same as a requested class, or what its examples show, would take that class's pixels: it
    steps aside. A text tower does not know all that mean the same: to ours a coach is no bus.
    """
    words, word_rows = background

    def gather() -> Crowd:
        return Crowd(words, word_rows, segmenter.meaning, segmenter.card.background)

    crowds = segmenter.crowds
    crowd = gather() if crowds is None else crowds.once((words, ()), (word_rows, None), gather)
    places = crowd.competing(classes, rows, segmenter.meaning)
    if shown:
        bank = segmenter.text_bank(words, word_rows)
        of_vectors = apart_from(bank.vectors, shown)
        taken = {owner for owner, stays in zip(bank.owner.tolist(), of_vectors.tolist(), strict=True) if not stays}
        places = [place for place in places if place not in taken]
    if not places:
        return (), None
    of_words = word_rows.reshape(len(words), -1, word_rows.shape[1])  # with all templates of a word
    return tuple([words[place] for place in places]), of_words[places].reshape(-1, word_rows.shape[1])
