"""Values in errors are short and valid JSON."""

from __future__ import annotations

import json

import pytest

from lexiseg_service.errors import InvalidValue


def shown(value: object) -> object:
    """What an error tells of a value, after its way through JSON."""
    error = InvalidValue.of("x", value, "another")
    assert error.detail == f"x: expected another, got {error.extra['errors'][0]['value']!r}"
    return json.loads(json.dumps(error.extra))["errors"][0]["value"]


@pytest.mark.parametrize("value", [None, True, 7, -(2**53), 451.1, -0.0, 1e300, "sky", ""])
def test_what_json_can_say_stays_what_it_is(value: object) -> None:
    assert (shown(value), type(shown(value))) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**53 + 1, "9007199254740993"),
        ([0, 0.5], "[0, 0.5]"),
        (10**400, "1" + 76 * "0" + "..."),
        ("x" * 81, 77 * "x" + "..."),
    ],
)
def test_anything_else_is_short_text(value: object, text: str) -> None:
    assert shown(value) == text


def test_several_findings_are_told_once_each_and_in_their_order() -> None:
    findings = [InvalidValue.of(name, 1, "less") for name in ("b", "a", "b", "c")]

    together = InvalidValue.together(findings)

    assert [entry["field"] for entry in together.extra["errors"]] == ["b", "a", "c"]
    assert together.detail == "; ".join(finding.detail for finding in (findings[0], findings[1], findings[3]))
