"""The class lists of the public benchmarks, carried as data: `data/NAME.json` names its source.

Where a benchmark tells things from stuff, `stuff` there names the classes that are stuff, and all others are things.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from importlib import resources

import orjson

from lexiseg_model.types import Vocabulary
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies.named import NamedVocabulary, named
from lexiseg_service.vocabularies.schemas import VocabularyInput

NAMES = (
    "voc20", "voc21", "context59", "context60", "coco-object", "coco-stuff", "coco-panoptic", "cityscapes",
    "ade20k", "ade847", "pc459", "lvis", "imagenet-s", "camvid",
)  # fmt: skip
ABOUT = ("name", "title", "notes")  # for the reader of a file


@cache
def built_in(name: str) -> NamedVocabulary | None:
    """A built-in list, read once; None for a name that is none of them."""
    if name not in NAMES:
        return None
    data = resources.files("lexiseg_service.vocabularies") / "data"
    content = orjson.loads((data / f"{name}.json").read_bytes())
    stuff = content.pop("stuff", None)
    class_list = VocabularyInput.model_validate({key: value for key, value in content.items() if key not in ABOUT})
    # A smaller limit of this installation is for the request that uses the list, not for the list.
    unmarked = named(name, class_list, Limits.model_construct(), built_in=True)
    return unmarked if stuff is None else replace(unmarked, vocabulary=_told_apart(unmarked.vocabulary, stuff))


def _told_apart(vocabulary: Vocabulary, stuff: Collection[str]) -> Vocabulary:
    """With the benchmark's own word, which goes before what is known of a name: doors are stuff in COCO only."""
    return replace(
        vocabulary, classes=tuple(replace(entry, thing=entry.name not in stuff) for entry in vocabulary.classes)
    )
