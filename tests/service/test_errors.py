"""Values in errors are short and valid JSON; protocols, OpenAPI and the client know the types of `errors.KINDS`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexiseg_client import errors as client
from lexiseg_labels.problems import GRPC_CODES, PROBLEMS
from lexiseg_service import errors
from lexiseg_service.errors import InvalidValue


def shown(value: object) -> object:
    """What an error tells of a value, after its way through JSON."""
    error = InvalidValue.of("x", value, "another")
    told = error.extra["errors"][0]["value"]
    in_words = repr(told) if isinstance(told, str) else json.dumps(told)
    assert error.detail == f"x: expected another, got {in_words}"
    return json.loads(json.dumps(error.extra))["errors"][0]["value"]


@pytest.mark.parametrize("value", [None, True, 7, -(2**53), 451.1, -0.0, 1e300, "sky", ""])
def test_what_json_can_say_stays_what_it_is(value: object) -> None:
    assert (shown(value), type(shown(value))) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "nan"), (float("-inf"), "-inf"), (2**53 + 1, "9007199254740993"), ([0, 0.5], "[0, 0.5]"),
        ([True, None], "[true, null]"), ({"id": "\u00e9"}, '{"id": "\u00e9"}'),
        (10**400, "1" + 76 * "0" + "..."), ("x" * 81, 77 * "x" + "..."),
    ],
)  # fmt: skip
def test_anything_else_is_short_text(value: object, text: str) -> None:
    assert shown(value) == text


def test_several_findings_are_told_once_each_and_in_their_order() -> None:
    findings = [InvalidValue.of(name, 1, "less") for name in ("b", "a", "b", "c")]

    together = InvalidValue.together(findings)

    assert [entry["field"] for entry in together.extra["errors"]] == ["b", "a", "c"]
    assert together.detail == "; ".join(finding.detail for finding in (findings[0], findings[1], findings[3]))


ROOT = Path(__file__).resolve().parents[2]
OURS = "internal-error"  # a fault of the service's own: no route promises it
TOLD = {name: kind for name, kind in errors.KINDS.items() if name != OURS}


def examples(node: Any) -> Iterator[str]:
    """The types of the problems in an OpenAPI document."""
    if isinstance(node, dict):
        problem = node.get("application/problem+json", {})
        yield from problem.get("examples", {})
        for value in node.values():
            yield from examples(value)
    elif isinstance(node, list):
        for value in node:
            yield from examples(value)


def test_the_client_has_an_error_of_the_same_name_for_each() -> None:
    assert {name: kind.__name__ for name, kind in client.BY_TYPE.items()} == {
        name: kind.__name__ for name, kind in TOLD.items()
    }


def test_an_answer_without_a_type_is_read_by_a_status_that_some_problem_has() -> None:
    assert client.BY_STATUS.keys() == {kind.status for kind in TOLD.values()}


def test_each_problem_of_the_table_has_an_error_and_a_code_of_grpc() -> None:
    assert errors.KINDS.keys() == PROBLEMS.keys()
    assert GRPC_CODES.keys() == {kind.status for kind in PROBLEMS.values()}


def test_the_promised_interface_shows_each() -> None:
    assert set(examples(json.loads((ROOT / "proto" / "openapi.json").read_text()))) == TOLD.keys()
