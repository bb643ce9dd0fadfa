"""The class lists of the public benchmarks, carried as data: `data/NAME.json` names its source.

For benchmarks that separate things and stuff, `stuff` names the classes that are stuff; all others are things.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from importlib import resources

import orjson

from lexiseg_model.types import Vocabulary
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary, named
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Limits

NAMES = (
    "voc20", "voc21", "context59", "context60", "coco-object", "coco-stuff", "coco-panoptic", "cityscapes",
    "ade20k", "ade847", "pc459", "lvis", "imagenet-s", "camvid",
)  # fmt: skip
ABOUT = ("name", "title", "notes")  # for readers of the file


@cache
def built_in(name: str) -> NamedVocabulary | None:
    """A built-in vocabulary, read once; None for another name."""
    if name not in NAMES:
        return None
    data = resources.files("lexiseg_service.gateway.vocabularies") / "data"
    content = orjson.loads((data / f"{name}.json").read_bytes())
    stuff = content.pop("stuff", None)
    class_list = VocabularyInput.model_validate({key: value for key, value in content.items() if key not in ABOUT})
    # A smaller limit of this installation applies to the request, not to the built-in list.
    unmarked = named(name, class_list, Limits.model_construct(), built_in=True)
    return unmarked if stuff is None else replace(unmarked, vocabulary=_with_stuff(unmarked.vocabulary, stuff))


def _with_stuff(vocabulary: Vocabulary, stuff: Collection[str]) -> Vocabulary:
    """The benchmark's own list of stuff takes precedence over names known as stuff: doors are stuff in COCO only."""
    return replace(
        vocabulary, classes=tuple(replace(entry, thing=entry.name not in stuff) for entry in vocabulary.classes)
    )
