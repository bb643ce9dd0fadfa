"""The judge of the chaos suite: right answers, typed errors and surprises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtests.chaos.__main__ import beyond
from loadtests.chaos.deployment import Level
from loadtests.chaos.judge import Judge
from loadtests.plain_client import GONE, Whole

KNOWN = {"segments": [1, 2]}


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


def judged(status: int, content: bytes, **options: Any) -> tuple[dict[str, int], list[str]]:
    judge = Judge()
    judge.rest("x", Whole(status, content), KNOWN, **options)
    return dict(judge.counts["x"]), judge.surprises


def test_the_known_answer_is_right_whatever_the_occasion() -> None:
    assert judged(200, body(segments=[1, 2], id="a", timings_ms={"total": 3}, cache={})) == ({"right": 1}, [])


def test_an_error_that_says_what_it_is_is_counted_by_its_type() -> None:
    assert judged(429, body(type="queue-full")) == ({"queue-full": 1}, [])


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, body(segments=[1])),
        (GONE, b""),
        (500, b"Internal Server Error"),
        (503, b"<html>"),
        (500, body(type="internal")),
        (429, body(type="not-ready")),  # another status than the type has
        (422, body(type="invalid-value")),  # nothing that the question calls for
        (429, b"[]"),
    ],
)
def test_anything_else_should_not_have_come(status: int, content: bytes) -> None:
    counts, surprises = judged(status, content)

    assert counts == {"surprise": 1}
    assert len(surprises) == 1


def test_what_does_not_come_back_is_named() -> None:
    before = {"gateway": Level(20, 100 << 20, 0.0), "worker": Level(20, 700 << 20, 0.0)}

    assert beyond(before, {"gateway": Level(25, 110 << 20, 0.0), "worker": Level(20, 1000 << 20, 300e6)}) == []
    wrong = beyond(before, {"gateway": Level(60, 110 << 20, 0.0), "worker": Level(20, 1000 << 20, 0.0)})
    assert [line.partition(":")[0] for line in wrong] == ["gateway", "worker"]
