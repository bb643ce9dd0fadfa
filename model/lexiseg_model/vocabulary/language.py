"""Classes that a text tower which reads English alone cannot know."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import WeightsError
from lexiseg_model.segmenter import Unfamiliar
from lexiseg_model.types import ClassEntry

Languages = Literal["english", "many"]
MAX_CHECKED = 64  # classes of a list; each costs some milliseconds, once


def foreign_classes(classes: Sequence[ClassEntry]) -> list[Unfamiliar]:
    """The classes none of whose texts is English; none of a longer list than `MAX_CHECKED`."""
    if len(classes) > MAX_CHECKED:
        return []
    strange = [place for place, entry in enumerate(classes) if all(map(_is_foreign, entry.texts))]
    return [Unfamiliar(place, "", 0.0, 1.0, is_foreign=True) for place in strange]


@lru_cache(maxsize=4096)
def _is_foreign(text: str) -> bool:
    try:
        (answer,) = methods()["tiny"].module("language").foreign([text])
    except WeightsError:  # MiniLM is not here: nothing can be told
        return False
    return bool(answer)
