"""Overrides of recipe values: `loss.area=0.3` changes one nested value, `sets={mine: 1}` replaces all sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from lexiseg_model.errors import RecipeError

EXAMPLE = "such as steps=30 or loss.area=0.3"


def parse(override: str) -> tuple[str, Any]:
    """Split a `key=value` string; the value is YAML.

    Raises:
        RecipeError: there is no `=`, or the value is not YAML.
    """
    key, equals, value = override.partition("=")
    if not equals or not key.strip("."):
        raise RecipeError(f"override {override!r} is not key=value, {EXAMPLE}")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"override {override!r}: {value!r} is not YAML, {EXAMPLE}") from None


def lay(values: dict[str, Any], key: str, value: Any, kind: Any) -> None:
    """Set the value at a dotted key in place.

    A mapping is merged into a nested pydantic model and replaces a free collection such as `sets`.

    Args:
        values: nested mappings and lists; changed.
        key: names of keys and numbers of list items, joined by dots.
        value: the new value.
        kind: the type that `values` is validated as later.

    Raises:
        RecipeError: the key leads through a value that has no parts.
    """
    *way, last = key.split(".")
    place: Any = values
    for part in way:
        place, kind = _step_into(place, part, key), part_of(kind, part)
    if isinstance(place, list):
        place[_index(place, last, key)] = value
        return
    if not isinstance(place, dict):
        raise RecipeError(f"override {key!r}: {'.'.join(way)} is {place!r}, which has no {last!r}")
    inner = part_of(kind, last)
    if isinstance(value, Mapping) and isinstance(place.get(last), dict) and _has_fields(inner):
        for name, entry in value.items():
            lay(place[last], str(name), entry, inner)
    else:
        place[last] = value


def part_of(kind: Any, name: str) -> Any:
    """The type of a field, of a mapping's values or of a list's items; None if unknown."""
    kind = _plain(kind)
    if _has_fields(kind):
        field = kind.model_fields.get(name)
        return None if field is None else _plain(field.annotation)
    origin, inner = get_origin(kind), get_args(kind)
    return _plain(inner[-1]) if origin in (dict, list) and inner else None


def _step_into(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, key)]
    if not isinstance(place, dict):
        raise RecipeError(f"override {key!r}: {place!r} has no {part!r}")
    return place.setdefault(part, {})


def _index(items: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise RecipeError(f"override {key!r}: {part!r} is not one of 0 to {len(items) - 1}")
    return int(part)


def _plain(kind: Any) -> Any:
    """Strip `| None` and annotations from a type."""
    if hasattr(kind, "__metadata__"):
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return _plain(options[0]) if len(options) == 1 else None
    return kind


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
