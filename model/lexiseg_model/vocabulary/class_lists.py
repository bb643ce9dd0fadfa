"""Built-in class lists of public benchmarks in official order, with readable names (`lists/NAME.json`).

The service offers them as vocabularies. Benchmarks are about the same classes, under the official strings that
published figures were measured with. A file that is `based_on` another list holds only the fields that differ.
Does not import torch.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from lexiseg_model.cards import StrictModel

FOLDER = Path(__file__).parent / "lists"
NAMES = (
    "voc20", "voc21", "context59", "context60", "coco-object", "coco-stuff", "coco-panoptic", "cityscapes",
    "ade20k", "ade847", "pc459", "lvis", "imagenet-s", "camvid",
)  # fmt: skip


class ListedClass(StrictModel):
    """A class under a readable name."""

    name: str
    synonyms: tuple[str, ...] = ()
    official: str | None = Field(None, description="the benchmark's own string; None: the name")


class ClassList(StrictModel):
    """The classes of a benchmark, without a background class."""

    name: str
    title: str
    source: str
    notes: str
    background: bool = Field(description="whether pixels may belong to none of the classes")
    stuff: frozenset[str] | None = Field(None, description="classes that are stuff, others are things; None: unknown")
    classes: tuple[ListedClass, ...]

    @field_validator("classes", mode="before")
    @classmethod
    def _plain_names(cls, entries: list[Any]) -> list[Any]:
        return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]

    @property
    def official(self) -> list[str]:
        """The benchmark's own strings, in order."""
        return [entry.official or entry.name for entry in self.classes]


@cache
def class_list(name: str) -> ClassList:
    """A built-in list, one of NAMES; read once."""
    return ClassList.model_validate(_fields(name))


def _fields(name: str) -> dict[str, Any]:
    """Fields of a list's file, over the fields of the list that it is based on."""
    fields: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_bytes())
    base = fields.pop("based_on", None)
    return fields if base is None else _fields(base) | fields
