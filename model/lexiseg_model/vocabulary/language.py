"""Detect class names that an English text tower cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import WeightsError
from lexiseg_model.segmenter import Unfamiliar
from lexiseg_model.types import ClassEntry

Languages = Literal["english", "many"]
MAX_CHECKED = 64  # classes in a list; each costs a few milliseconds, once


def foreign_classes(classes: Sequence[ClassEntry]) -> list[Unfamiliar]:
    """The classes without an English text; lists longer than `MAX_CHECKED` are not checked."""
    if len(classes) > MAX_CHECKED:
        return []
    foreign = [index for index, entry in enumerate(classes) if all(map(_is_foreign, entry.texts))]
    return [Unfamiliar(index, "", 0.0, 1.0, is_foreign=True) for index in foreign]


@lru_cache(maxsize=4096)
def _is_foreign(text: str) -> bool:
    try:
        (is_foreign,) = methods()["tiny"].module("words.familiar").foreign([text])
    except WeightsError:  # the detector needs MiniLM, which is not installed
        return False
    return bool(is_foreign)
