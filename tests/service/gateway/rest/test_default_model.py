from __future__ import annotations

import pytest

from lexiseg_service.errors import NotReady, UnknownModel
from lexiseg_service.gateway.use_case import find_card
from tests.model.stand_in import card

CARDS = [card(name="first"), card(name="second")]


@pytest.mark.parametrize(
    ("named", "found"), [(None, "first"), ("second", "second"), ("second@1", "second"), ("first@1", "first")]
)
def test_a_question_that_names_no_model_gets_the_first(named: str | None, found: str) -> None:
    assert find_card(named, CARDS).name == found


@pytest.mark.parametrize("named", ["third", "first@2", "", "first@1@1", "first@", "@1"])
def test_a_name_that_is_not_there_is_unknown(named: str) -> None:
    with pytest.raises(UnknownModel, match="there is: first@1, second@1"):
        find_card(named, CARDS)


def test_as_long_as_no_model_is_known_nothing_is_ready() -> None:
    with pytest.raises(NotReady):
        find_card(None, [])
