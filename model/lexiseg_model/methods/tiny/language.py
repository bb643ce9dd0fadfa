"""Detect words that are not English by tiny's text tower, for models without their own test."""

from __future__ import annotations

from functools import cache

from lexiseg_model.catalogue.method import Method
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import Familiar, read_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower


def foreign(texts: list[str]) -> list[bool]:
    """Whether each text is not English.

    Raises:
        WeightsError: the text tower is not installed.
    """
    rows_of = load_text_tower().encode
    return [word.is_foreign for word in _familiar().nearest([TEMPLATE.format(text) for text in texts], rows_of)]


@cache
def _familiar() -> Familiar:
    folder = Method("tiny", "lexiseg_model.methods.tiny").bundled
    familiar = None if folder is None else read_familiar(folder, load_text_tower().digest)
    assert familiar is not None, "the bundled model lists its training words"
    return familiar
