"""The signed value of a text row in Redis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.worker.texts import decode, encode, key_of

rows = st.lists(st.integers(0, 65535), min_size=1, max_size=40).map(lambda bits: np.array(bits, "<u2").tobytes())
texts = st.text(st.characters(exclude_categories=()))
SECRETS = [b"", b"of all the workers"]
KEY = key_of("tower", "sky")


@pytest.mark.parametrize("secret", SECRETS)
@given(rows)
def test_a_row_comes_back_bit_for_bit(secret: bytes, row: bytes) -> None:
    assert decode(secret, KEY, encode(secret, KEY, row)) == row


@pytest.mark.parametrize("secret", SECRETS)
@given(rows, st.data())
def test_a_changed_or_truncated_value_is_no_row(secret: bytes, row: bytes, data: st.DataObject) -> None:
    value = bytearray(encode(secret, KEY, row))
    position = data.draw(st.integers(0, len(value) - 1))
    truncated = bytes(value[:position])
    value[position] ^= data.draw(st.integers(1, 255))

    assert decode(secret, KEY, bytes(value)) is None
    assert decode(secret, KEY, truncated) is None


@given(rows)
def test_a_row_of_another_text_or_with_another_secret_is_no_row(row: bytes) -> None:
    assert decode(SECRETS[1], KEY, encode(SECRETS[1], key_of("tower", "sea"), row)) is None
    assert decode(SECRETS[1], KEY, encode(SECRETS[0], KEY, row)) is None


@given(st.one_of(st.none(), st.binary(), st.text(), st.integers(), st.lists(st.binary())))
def test_a_foreign_value_is_no_row(value: object) -> None:
    assert decode(SECRETS[0], KEY, value) is None


@given(texts, texts)
def test_texts_and_towers_share_no_key(one: str, other: str) -> None:
    assert (key_of("tower", one) == key_of("tower", other)) == (one == other)
    assert key_of("other", one) != key_of("tower", one)
