"""Stores by address: what their libraries say becomes one line."""

from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from lexiseg_model.catalogue import store
from lexiseg_model.errors import OptionError


class OfItsOwn(Exception):
    """As botocore's NoCredentialsError: no OSError."""


@pytest.mark.parametrize(("raised", "seen"), [(OfItsOwn, OptionError), (PermissionError, PermissionError)])
def test_a_store_that_does_not_answer_is_named_with_its_reason(
    raised: type[Exception], seen: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise raised("no credentials")

    monkeypatch.setattr(MemoryFileSystem, "exists", refuse)

    with pytest.raises(seen, match="no credentials") as refused:
        store.reached("memory://pictures")

    if seen is OptionError:
        assert str(refused.value).startswith("memory://pictures: cannot be reached: OfItsOwn")


def test_a_store_that_answers_is_given_with_the_place_in_it() -> None:
    found, place = store.reached("memory://pictures/of/mine/")

    assert (type(found), place) == (MemoryFileSystem, "/pictures/of/mine")
