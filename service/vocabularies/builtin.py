"""The class lists of the public benchmarks, carried as data: `data/NAME.json` names its source."""

from __future__ import annotations

from functools import cache
from importlib import resources

import orjson

from service.gateway.vocabulary_schemas import VocabularyInput
from service.settings import Limits
from service.vocabularies.named import NamedVocabulary, named

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
    content = orjson.loads(resources.files("service.vocabularies").joinpath("data", f"{name}.json").read_bytes())
    given = VocabularyInput.model_validate({key: value for key, value in content.items() if key not in ABOUT})
    # A smaller limit of this installation is for the request that uses the list, not for the list.
    return named(name, given, Limits.model_construct(), built_in=True)
