"""Build and cache the text bank of a vocabulary: vectors of its classes, then of the background words.

A served segmenter caches the latest banks (`Segmenter.banks`), so a repeated vocabulary costs a lookup. The worker
caches the text rows that banks are built from.
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.segmenter import RowsOf, Segmenter, TextBank, Unfamiliar, words_of
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank_building import build_bank

MAX_BANKS = 16  # in the cache of a served model
MAX_BANK_BYTES = 8 * 2**20  # of vectors; larger banks are not cached


def needed_texts(segmenter: Segmenter, vocabulary: Vocabulary) -> list[str]:
    """The texts of the classes and background words that `bank_of` needs rows of."""
    words = tuple(map(ClassEntry, _background_words(segmenter, vocabulary)))
    return [text for entries in (vocabulary.classes, words) if entries for text in words_of(segmenter).texts(entries)]


def bank_of(segmenter: Segmenter, vocabulary: Vocabulary, rows_of: RowsOf) -> TextBank:
    """The bank of a vocabulary of at least one class, each with texts, examples, or both; then the background words.

    `rows_of` returns the rows of `needed_texts`; it is not called when the bank is cached.
    """
    words = _background_words(segmenter, vocabulary)
    key = vocabulary.classes, words
    bank = None if segmenter.banks is None else segmenter.banks.get(key)
    if bank is None:
        bank = build_bank(segmenter, vocabulary.classes, words, rows_of)
        if segmenter.banks is not None and bank.vectors.nbytes <= MAX_BANK_BYTES:
            segmenter.banks.put(key, bank)
    return bank


def unfamiliar_classes(
    segmenter: Segmenter, vocabulary: Vocabulary, rows_of: RowsOf, bank: TextBank
) -> list[Unfamiliar]:
    """The named classes that the model was not trained on; computed once for the bank of the vocabulary."""
    unfamiliar: list[Unfamiliar] | None = bank.derived.get("unfamiliar classes")
    if unfamiliar is None:
        classes = vocabulary.classes
        named = [index for index, entry in enumerate(classes) if entry.named]
        words = segmenter.unfamiliar(tuple(classes[index] for index in named), rows_of) if named else []
        unfamiliar = [word._replace(class_index=named[word.class_index]) for word in words]
        bank.derived["unfamiliar classes"] = unfamiliar
    return unfamiliar


def directions(bank: TextBank) -> Tensor:
    """The vectors [T, D] of a bank, normalised; texts' already are."""
    return F.normalize(bank.vectors, dim=1) if bank.has_examples else bank.vectors


def _background_words(segmenter: Segmenter, vocabulary: Vocabulary) -> tuple[str, ...]:
    if vocabulary.background is None:
        return ()
    words = vocabulary.background.words
    return tuple(segmenter.card.background.words if words is None else words)


class KnownRows:
    """A `RowsOf` that encodes each text once: texts -> rows [len(texts), D]."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._rows: dict[str, NDArray[np.float16]] = {}

    def __call__(self, texts: list[str]) -> NDArray[np.float16]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if fresh:
            self._rows.update(zip(fresh, words_of(self._segmenter).encode_texts(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts])
