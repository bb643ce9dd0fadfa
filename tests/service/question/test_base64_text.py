"""Base64 is what Python takes it for, without Python's lock."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.question.base64_text import decoded


@pytest.mark.parametrize("length", range(40))
def test_what_was_encoded_comes_back(length: int) -> None:
    content = bytes(range(100, 100 + length))

    assert decoded(base64.b64encode(content).decode()) == content


def by_python(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AA=", "=", "====", "AAAA=", "AAAA==", "AAAA====", "AA==AAAA", "A=AAAAAA", "AAAAAAAA\n",
     "AAAAAAA-", "AAAAAAAAAAAAAAAA?AAA", "AAAAAAAAAé", "AAAAAAAAAAAAA===", "AAAAAAAA AAAA"],
)  # fmt: skip
def test_what_is_none_for_python_is_none(text: str) -> None:
    try:
        found = decoded(text)
    except ValueError:
        found = None

    assert found == by_python(text)


@given(st.text("Ab/+9=", max_size=40))
def test_all_is_as_python_says_but_for_endless_padding(text: str) -> None:
    try:
        found = decoded(text)
    except ValueError:
        assert by_python(text) is None or text.endswith("=====")
    else:
        assert found == by_python(text)


def test_what_holds_the_lock_sees_the_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    real = base64.b64decode

    def watched(text: str, validate: bool) -> bytes:
        lengths.append(len(text))
        return real(text, validate=validate)

    monkeypatch.setattr(base64, "b64decode", watched)

    assert decoded("AAAA" * 100_000 + "AA==") == decoded("AAAA" * 100_000) + b"\0"
    assert lengths == []
    decoded("AAAA" * 100_000 + "=")
    assert lengths == [5]
    with pytest.raises(ValueError, match="padding"):
        decoded("AAAA" + "=" * 100)
