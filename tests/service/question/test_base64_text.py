"""Base64 in pieces is what it is as a whole."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.question import base64_text
from lexiseg_service.question.base64_text import decoded


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base64_text, "PIECE", 8)


@pytest.mark.parametrize("length", range(40))
def test_what_was_encoded_comes_back(length: int) -> None:
    content = bytes(range(100, 100 + length))

    assert decoded(base64.b64encode(content).decode()) == content


def whole(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AA=", "=", "====", "AAAA=", "AAAA==", "AAAA====", "AA==AAAA", "A=AAAAAA", "AAAAAAAA\n",
     "AAAAAAA-", "AAAAAAAAAAAAAAAA?AAA", "AAAAAAAAAé", "AAAAAAAAAAAAA===", "AAAAAAAA AAAA"],
)  # fmt: skip
def test_what_is_none_as_a_whole_is_none_in_pieces(text: str) -> None:
    try:
        pieces = decoded(text)
    except ValueError:
        pieces = None

    assert pieces == whole(text)


@given(st.text("Ab/+9=", max_size=40))
def test_pieces_say_what_the_whole_says_but_for_endless_padding(text: str) -> None:
    try:
        pieces = decoded(text)
    except ValueError:
        assert whole(text) is None or text.endswith("=====")
    else:
        assert pieces == whole(text)


def test_no_piece_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    real = base64.b64decode

    def watched(text: str, validate: bool) -> bytes:
        lengths.append(len(text))
        return real(text, validate=validate)

    monkeypatch.setattr(base64, "b64decode", watched)
    decoded("AAAA" * 100 + "AA==")

    assert max(lengths) <= 8
    with pytest.raises(ValueError, match="padding"):
        decoded("AAAA" + "=" * 100)
