from __future__ import annotations

import pytest

from lexiseg_service.adapters.kserve import packed, strings, unpacked
from lexiseg_service.errors import InvalidValue

WORDS = [b"red", b"", "grün".encode()]


def test_elements_come_back_as_they_were_packed() -> None:
    assert unpacked(packed(WORDS), "inputs.classes", len(WORDS)) == WORDS


@pytest.mark.parametrize("missing", [1, 5, 7])
def test_bytes_that_end_early_are_refused(missing: int) -> None:
    with pytest.raises(InvalidValue, match=r"inputs\.classes"):
        unpacked(packed(WORDS)[:-missing], "inputs.classes", len(WORDS))


def test_more_elements_than_are_allowed_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at most 2"):
        unpacked(packed(WORDS), "inputs.classes", 2)


def test_strings_come_flat_however_deep_the_lists_are() -> None:
    assert strings([["red", ["blue"]], "green"], "inputs.classes") == ["red", "blue", "green"]
