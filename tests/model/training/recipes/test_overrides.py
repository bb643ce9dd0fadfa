"""Overrides of recipe values from the command line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipes.overrides import lay, parse


class Part(BaseModel):
    area: float
    tv: float


class Whole(BaseModel):
    part: Part
    maybe: Part | None
    sets: dict[str, Part]
    phases: list[Part]
    steps: int


def values() -> dict[str, Any]:
    part = {"area": 1, "tv": 2}
    return {
        "part": dict(part),
        "maybe": dict(part),
        "sets": {"ours": dict(part), "theirs": dict(part)},
        "phases": [dict(part), dict(part)],
        "steps": 3,
    }


@pytest.mark.parametrize(
    ("key", "value", "where", "after"),
    [
        ("steps", 9, "steps", 9),
        ("part.area", 9, "part", {"area": 9, "tv": 2}),
        ("part", {"area": 9}, "part", {"area": 9, "tv": 2}),
        ("maybe", {"tv": 9}, "maybe", {"area": 1, "tv": 9}),
        ("maybe", None, "maybe", None),
        ("phases.1.tv", 9, "phases", [{"area": 1, "tv": 2}, {"area": 1, "tv": 9}]),
        ("phases.0", {"area": 9}, "phases", [{"area": 9}, {"area": 1, "tv": 2}]),
        ("fresh.key", 9, "fresh", {"key": 9}),
    ],
)
def test_an_override_changes_one_value(key: str, value: Any, where: str, after: Any) -> None:
    changed = values()

    lay(changed, key, value, Whole)

    assert changed.pop(where) == after
    assert changed == {name: entry for name, entry in values().items() if name != where}


def test_an_override_replaces_a_whole_mapping() -> None:
    changed = values()

    lay(changed, "sets", {"mine": {"area": 9, "tv": 9}}, Whole)

    assert changed["sets"] == {"mine": {"area": 9, "tv": 9}}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("steps.more", "'steps.more': steps is 3, which has no 'more'"),
        ("steps.more.deep", "'steps.more.deep': 3 has no 'more'"),
        ("phases.2.area", "'phases.2.area': '2' is not one of 0 to 1"),
        ("phases.last", "'phases.last': 'last' is not one of 0 to 1"),
    ],
)
def test_an_unknown_key_is_refused_with_its_last_valid_part(key: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        lay(values(), key, 1, Whole)


@pytest.mark.parametrize("override", ["steps", "", "steps 30", "=3"])
def test_an_override_without_an_equals_sign_is_refused(override: str) -> None:
    with pytest.raises(RecipeError, match="is not key=value, such as steps=30"):
        parse(override)
