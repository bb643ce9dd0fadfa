"""Escapes of base64 are read as a parser reads them, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.question import escapes
from lexiseg_service.question.escapes import MEANINGS, in_pieces, unbroken, unescaped


@pytest.mark.parametrize("escape", MEANINGS)
def test_an_escape_means_what_it_means_to_a_parser(escape: bytes) -> None:
    text = b"Ab" + escape + b"9"

    assert unescaped(text) == json.loads(b'"%s"' % text).encode()


@given(st.text("Abu02Bbnr/\\", max_size=30))
def test_no_text_is_read_otherwise(text: str) -> None:
    meant = unescaped(text.encode())

    assert meant is None or json.loads(f'"{text}"').encode() == meant


@pytest.mark.parametrize("text", [rb"\\", rb"A\\/", rb"A\u00", rb"\t", rb"\u0041", rb"\\u002B", b"A\\"])
def test_what_base64_does_not_need_is_left_to_the_parser(text: bytes) -> None:
    assert unescaped(text) is None


@pytest.mark.parametrize("piece", range(escapes.LONGEST, 20))
def test_no_end_of_a_piece_goes_through_an_escape(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(escapes, "PIECE", piece)
    text = rb"AAA\u002BAA\/\/\u002F\u002FA\nAAAA\u003D"

    meant = in_pieces(b"<" + text + b">", 1, 1 + len(text), unescaped)

    assert meant is not None
    assert bytes(meant) == b"AAA+AA////A\nAAAA="
    assert bytes(unbroken(meant)) == b"AAA+AA////AAAAA="


def test_others_have_their_turn_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr("time.sleep", turns.append)

    in_pieces(b"A" * (3 * escapes.BETWEEN * escapes.PIECE), 0, 3 * escapes.BETWEEN * escapes.PIECE, unescaped)

    assert len(turns) == 3
    assert min(turns) > 0
