"""Build and cache the text bank of a vocabulary: vectors of its classes, then of the background words.

A served segmenter caches the latest banks (`Segmenter.banks`), so a repeated vocabulary costs a lookup. The worker
caches the text rows that banks are built from.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors, Teachable, teachable
from lexiseg_model.errors import ForeignLessonError
from lexiseg_model.segmenter import LearnedClasses, RowsOf, Segmenter, TextBank, TextRows, Unfamiliar, words_of
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.examples import apart_from, vectors_of, with_examples

MAX_BANKS = 16  # in the cache of a served model
MAX_BANK_BYTES = 8 * 2**20  # of vectors; larger banks are not cached
Classes = tuple[ClassEntry, ...]


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
        bank = _build(segmenter, vocabulary.classes, words, rows_of)
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


def competing_words(
    segmenter: Segmenter,
    background: tuple[Classes, TextRows],
    listed: tuple[Classes, TextRows | None],
    examples: dict[int, ExampleVectors],
) -> tuple[Classes, TextRows]:
    """Drop background words that mean the same as a class of the request: they would win its pixels.

    `background` and the result are words [W], and their rows [W x templates, D]; `listed` the classes of the request
    with their rows, None where all have examples only.
    """
    (words, word_rows), (classes, rows) = background, listed
    competes = np.ones(len(words), bool)
    if rows is not None:
        rule = segmenter.card.background
        similarity = segmenter.meaning(words, word_rows) @ segmenter.meaning(classes, rows).T  # [W, D] x [D, T]
        competes &= (similarity < rule.same_meaning).all(1)
        texts = {text.lower() for entry in classes for text in entry.texts}
        competes &= [texts.isdisjoint(rule.synonyms.get(word.name, ())) for word in words]
    # Classes with texts were compared by these.
    unnamed = {index: vectors for index, vectors in examples.items() if not classes[index].texts}
    if unnamed:
        bank = words_of(segmenter).text_bank(words, word_rows)
        competes[bank.owner[~apart_from(bank.vectors, unnamed)]] = False
    by_word = word_rows.reshape(len(words), -1, word_rows.shape[1])  # [W, templates, D]
    return tuple(compress(words, competes)), by_word[competes].reshape(-1, word_rows.shape[1])


def _build(segmenter: Segmenter, classes: Classes, background: tuple[str, ...], rows_of: RowsOf) -> TextBank:
    words = tuple(map(ClassEntry, background))
    examples = vectors_of(segmenter, classes)
    texts = words_of(segmenter).texts(classes)
    rows = rows_of(texts) if texts else None
    if words:
        words, word_rows = competing_words(
            segmenter, (words, rows_of(words_of(segmenter).texts(words))), (classes, rows), examples
        )
        rows = word_rows if rows is None else np.concatenate([rows, word_rows])
    bank = words_of(segmenter).text_bank(classes + words, rows) if rows is not None and len(rows) else None
    if bank is None or examples:
        bank = with_examples(bank, examples, len(classes) + len(words))
    learned = _learned(segmenter, classes, bank.vectors.device)
    taught = set() if learned is None else {*learned.classes.tolist()}
    of_head = [index for index, entry in enumerate(classes) if entry.learned is not None or index in taught]
    parts = None if bank.parts is None else bank.parts.among(len(classes))  # background words are not asked
    return replace(bank, learned=learned, of_head=tuple(of_head), n_background=len(words), parts=parts)


def _learned(segmenter: Segmenter, classes: Classes, device: torch.device) -> LearnedClasses | None:
    """The taught classes of a head in a vocabulary, and the model's own; None: there are none."""
    own = segmenter.own_classes if isinstance(segmenter, Teachable) else {}
    learned = {}
    for index, entry in enumerate(classes):
        # The model knows classes without examples by their first name that it has learned.
        names = () if entry.shown is not None else map(str.lower, entry.names)
        each = entry.learned if entry.is_taught else next((own[name] for name in names if name in own), None)
        if each is not None:
            learned[index] = each
    if not learned:
        return None
    model = teachable(segmenter)
    sizes = model.teaching_size, model.fine_size + model.teaching_size
    for index, each in learned.items():
        is_of_size = len(each.direction) in (4 * sizes[0], 4 * sizes[1]) and len(each.place) in (0, 4 * sizes[0] + 4)
        if each.digest != segmenter.digest or not is_of_size:
            raise ForeignLessonError(
                f"{classes[index].name!r} was taught to the weights {each.digest}; expected {segmenter.digest}: solve "
                "the head again from its pictures"
            )
    length = max(len(each.direction) for each in learned.values())  # a direction without detail adds nothing there
    of_all = b"".join(each.direction.rjust(length, b"\0") for each in learned.values())
    rows = np.frombuffer(of_all, "<f4").reshape(len(learned), -1)
    of_places = b"".join(each.place or bytes(4 * sizes[0] + 4) for each in learned.values())
    places = torch.frombuffer(bytearray(of_places), dtype=torch.float32).view(len(learned), -1).to(device)
    text = torch.tensor([each.text for each in learned.values()], device=device)
    by_words = [index for index, entry in enumerate(classes) if entry.learned is not None and index not in learned]
    taught, rest = np.array([*learned]), np.array(by_words, np.int64)
    directions = torch.tensor(rows, device=device)
    return LearnedClasses(taught, directions, text, len(classes), rest, places if any(of_places) else None)
