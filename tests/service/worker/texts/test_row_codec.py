from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.worker.texts import row_codec

rows = st.lists(st.integers(0, 65535), min_size=1, max_size=40).map(lambda bits: np.array(bits, "<u2").tobytes())
HERE = row_codec.address("tower", "sky")


def width(row: bytes) -> int:
    return len(row) // row_codec.ITEM


@given(rows)
def test_a_row_comes_back_bit_for_bit(row: bytes) -> None:
    assert row_codec.decode(HERE, row_codec.encode(HERE, row), width(row)) == row


@given(rows, st.data())
def test_a_changed_byte_makes_it_no_row(row: bytes, data: st.DataObject) -> None:
    value = bytearray(row_codec.encode(HERE, row))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))

    assert row_codec.decode(HERE, bytes(value), width(row)) is None


@given(rows, st.integers(0, 100))
def test_another_length_is_no_row(row: bytes, other: int) -> None:
    value = row_codec.encode(HERE, row)

    assert other == width(row) or row_codec.decode(HERE, value, other) is None


@given(rows, st.data())
def test_a_value_cut_short_is_no_row(row: bytes, data: st.DataObject) -> None:
    value = row_codec.encode(HERE, row)

    assert row_codec.decode(HERE, value[: data.draw(st.integers(0, len(value) - 1))], width(row)) is None


@given(st.one_of(st.none(), st.binary(), st.text(), st.integers(), st.lists(st.binary())), st.integers(0, 8))
def test_a_foreign_value_is_no_row(value: object, wanted: int) -> None:
    assert row_codec.decode(HERE, value, wanted) is None


@given(rows)
def test_the_row_of_another_text_is_no_row(row: bytes) -> None:
    value = row_codec.encode(row_codec.address("tower", "sea"), row)

    assert row_codec.decode(HERE, value, width(row)) is None


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_texts_share_an_address_only_when_they_are_equal(one: str, other: str) -> None:
    assert (row_codec.address("tower", one) == row_codec.address("tower", other)) == (one == other)


def test_towers_share_no_address() -> None:
    assert row_codec.address("one", "sky") != row_codec.address("other", "sky")


def test_a_key_is_the_prefix_and_a_digest() -> None:
    assert re.fullmatch(r"lexiseg:text:v1:[0-9a-f]{64}", row_codec.key(HERE))
