"""Vectors of classes and background words, from rows, examples and heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import compress

import numpy as np
import torch

from lexiseg_model.abilities import ExampleVectors, Teachable, teachable
from lexiseg_model.errors import ForeignLessonError
from lexiseg_model.segmenter import LearnedClasses, RowsOf, Segmenter, TextBank, TextRows, words_of
from lexiseg_model.types import ClassEntry, Learned
from lexiseg_model.vocabulary.examples import apart_from, vectors_of, with_examples

Classes = tuple[ClassEntry, ...]


def competing_words(
    segmenter: Segmenter,
    background: tuple[Classes, TextRows],
    listed: tuple[Classes, TextRows | None],
    examples: dict[int, ExampleVectors],
) -> tuple[Classes, TextRows]:
    """Drop background words that mean the same as a class of the request: they would win its pixels.

    The card's synonyms cover pairs that the text tower does not recognise as similar. `background` and the result are
    words [W], and their rows [W x templates, D]; `listed` the classes of the request with their rows, None where all
    have examples only.
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


def build_bank(segmenter: Segmenter, classes: Classes, background: tuple[str, ...], rows_of: RowsOf) -> TextBank:
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
    parts = None if bank.parts is None else bank.parts.among(len(classes))  # background words are not asked
    return replace(bank, learned=learned, n_background=len(words), parts=parts)


def _learned(segmenter: Segmenter, classes: Classes, device: torch.device) -> LearnedClasses | None:
    """The classes of a head in a vocabulary, and the model's own; None: there are none."""
    own = segmenter.own_classes if isinstance(segmenter, Teachable) else {}
    of_each = {
        index: entry.learned if entry.is_taught else _own_class(entry, own) for index, entry in enumerate(classes)
    }
    learned = {index: each for index, each in of_each.items() if each is not None}
    if not learned:
        return None
    model = teachable(segmenter)
    sizes = model.teaching_size, model.fine_size + model.teaching_size
    for index, each in learned.items():
        if each.digest != segmenter.digest or len(each.direction) not in (4 * sizes[0], 4 * sizes[1]):
            raise ForeignLessonError(
                f"{classes[index].name!r} was taught to the weights {each.digest}; expected {segmenter.digest}: solve "
                "the head again from its pictures"
            )
    length = max(len(each.direction) for each in learned.values())  # a direction without detail adds nothing there
    of_all = b"".join(each.direction.rjust(length, b"\0") for each in learned.values())
    rows = np.frombuffer(of_all, "<f4").reshape(len(learned), -1)
    text = torch.tensor([each.text for each in learned.values()], device=device)
    by_words = [index for index, entry in enumerate(classes) if entry.learned is not None and index not in learned]
    taught, rest = np.array([*learned]), np.array(by_words, np.int64)
    return LearnedClasses(taught, torch.tensor(rows, device=device), text, len(classes), rest)


def _own_class(entry: ClassEntry, own: Mapping[str, Learned]) -> Learned | None:
    """What the model itself has learned of a class without examples, by the first name that it knows."""
    names = () if entry.shown is not None else entry.names
    return next((own[name.lower()] for name in names if name.lower() in own), None)
