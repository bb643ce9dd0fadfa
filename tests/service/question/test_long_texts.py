"""Long texts of base64 are found in JSON without a parser, and it is parsed to the same without them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexiseg_service.errors import MalformedRequest, TooLarge
from lexiseg_service.question import escapes, long_texts
from lexiseg_service.question.json_text import most_beside, parse_json
from lexiseg_service.question.long_texts import LONG, LongTexts
from lexiseg_service.settings import Limits

PICTURE = base64.b64encode(bytes(range(256)) * 4000).decode()  # with + and /, and padding
MOST = 10**7


def both_ways(body: bytes) -> tuple[Any, Any]:
    """Parsed by Python alone, and without the long texts."""
    texts = LongTexts(body, MOST, MOST)
    return json.loads(body), texts.put_back(json.loads(texts.rest))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"image": {"base64": PICTURE}, "classes": ["sky"]}),
        json.dumps({"image": {"base64": PICTURE}}).replace("/", "\\/"),  # as PHP writes it
        json.dumps({"image": {"base64": PICTURE}}).replace("+", "\\u002B"),  # as .NET does
        json.dumps({"image": "data:image/png;base64," + PICTURE, "images": [PICTURE, [PICTURE], {"a": PICTURE}]}),
    ],
)
def test_what_stands_beside_long_texts_is_short_and_all_comes_back(text: str) -> None:
    body = text.encode()

    expected, found = both_ways(body)

    assert found == expected
    assert len(LongTexts(body, MOST, MOST).rest) < LONG


@pytest.mark.parametrize(
    "inside",
    [
        "A" * LONG + " ",
        "A" * LONG + '\\"' + "A" * LONG,
        "\\\\" * LONG,
        "A\\\\" * LONG + '\\"',
        "\\ud83d\\ude00" * LONG,
        "\u6a39" * LONG,
        "A" * LONG + '", "b": 12, "c": "' + "A" * LONG,
        "A" * LONG + '", "b":' + " " * LONG + '1, "c": "',
    ],
)
@pytest.mark.parametrize("shift", range(7))
def test_nothing_is_read_otherwise(monkeypatch: pytest.MonkeyPatch, inside: str, shift: int) -> None:
    monkeypatch.setattr(escapes, "PIECE", 64)  # so that escapes lie across many ends

    expected, found = both_ways(f'{{"a": "{"A" * shift}{inside}"}}'.encode())

    assert found == expected


@given(st.recursive(st.text('A"\\/+ u\n', max_size=40) | st.integers(), lambda inner: st.lists(inner, max_size=4)))
@settings(max_examples=100, deadline=None)
def test_any_json_is_parsed_to_the_same(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_texts, "LONG", 8)
        patched.setattr(escapes, "PIECE", 16)

        expected, found = both_ways(json.dumps({"A": value, "b": [value]}).replace("+", "\\u002b").encode())

    assert found == expected


@pytest.mark.parametrize("piece", [b" ", b"!", b"\\ud800", b'"', b"1,"])
def test_no_parser_sees_more_than_a_question_needs(piece: bytes) -> None:
    limits = Limits()

    with pytest.raises(TooLarge, match="bytes beside long texts of base64"):
        parse_json(b'{"a": "' + piece * most_beside(limits), limits)


def test_a_text_that_is_mostly_escapes_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def unescaped(piece: bytes) -> bytes:
        read.append(piece)
        return b""

    monkeypatch.setattr(long_texts, "unescaped", unescaped)
    limits = Limits()

    with pytest.raises(TooLarge, match="escaped characters"):
        parse_json(b'{"a": "' + b"\\u002B" * 4_000_000 + b'"}', limits)

    assert sum(map(len, read)) < 24_000_000 / 2


def test_what_is_wrong_behind_a_picture_is_told_by_its_place_in_the_body() -> None:
    body = json.dumps({"image": {"base64": PICTURE}}).encode()[:-1] + b', "classes": [sky]}'

    with pytest.raises(MalformedRequest, match=rf"Expecting value: char {body.index(b'sky')}$"):
        parse_json(body, Limits())
