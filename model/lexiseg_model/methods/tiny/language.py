"""Which words are not English, for models that have nothing of their own to tell by (`vocabulary.language`)."""

from __future__ import annotations

from functools import cache

from lexiseg_model.catalogue.method import Method
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import Familiar, read_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower


def foreign(texts: list[str]) -> list[bool]:
    """Of each text, by the text tower and the direction that come with the bundled model.

    Raises:
        WeightsError: the text tower is not here.
    """
    rows_of = load_text_tower().encode
    return [each.is_foreign for each in _familiar().nearest([TEMPLATE.format(text) for text in texts], rows_of)]


@cache
def _familiar() -> Familiar:
    folder = Method("tiny", "lexiseg_model.methods.tiny").bundled
    familiar = None if folder is None else read_familiar(folder, load_text_tower().digest)
    assert familiar is not None, "the bundled model says which words it knows"
    return familiar
