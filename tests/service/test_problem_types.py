"""Protocols, OpenAPI and the client know the problem types of `errors.KINDS`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lexiseg_client import errors as client
from lexiseg_service import errors
from lexiseg_service.wire.errors import CODES

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


def test_each_status_has_a_code_of_grpc() -> None:
    assert CODES.keys() == {kind.status for kind in TOLD.values()}


def test_the_promised_interface_shows_each() -> None:
    promised = json.loads((ROOT / "proto" / "openapi.json").read_text())

    assert set(examples(promised)) == TOLD.keys()


def test_the_drawn_tree_is_the_table() -> None:
    drawn = re.findall(r"\+- (\w+) +(\d{3}) ([a-z-]+)", errors.__doc__ or "")

    assert drawn == [(kind.__name__, str(kind.status), name) for name, kind in TOLD.items()]
