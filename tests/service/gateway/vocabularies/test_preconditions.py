from __future__ import annotations

import pytest

from lexiseg_service.errors import PreconditionFailed
from lexiseg_service.gateway.vocabularies.named import Preconditions

TAG = '"abc"'


@pytest.mark.parametrize("sent", [TAG, "*", ' "x", "abc"', '"x,y","abc"'])
def test_a_write_on_what_the_client_knows_goes_on(sent: str) -> None:
    Preconditions(if_match=sent).check(TAG)


@pytest.mark.parametrize("sent", ['"abd"', "abc", 'W/"abc"', ""])
def test_a_write_on_something_else_is_refused(sent: str) -> None:
    with pytest.raises(PreconditionFailed, match=TAG):
        Preconditions(if_match=sent).check(TAG)


@pytest.mark.parametrize("sent", [TAG, "*"])
def test_a_write_on_what_is_gone_is_refused(sent: str) -> None:
    with pytest.raises(PreconditionFailed, match="there is none"):
        Preconditions(if_match=sent).check(None)


@pytest.mark.parametrize(
    ("sent", "unchanged"), [(TAG, True), ('W/"abc"', True), ("*", True), ('"x"', False), (None, False)]
)
def test_a_reader_that_holds_it_is_told_so(sent: str | None, unchanged: bool) -> None:
    assert Preconditions(if_none_match=sent).unchanged(TAG) is unchanged
