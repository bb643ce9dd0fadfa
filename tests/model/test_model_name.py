"""NAME and NAME@VERSION: what they fit, and what is neither."""

from __future__ import annotations

import pytest

from lexiseg_model.errors import UnknownModelError
from lexiseg_model.model_name import ModelName
from tests.model.stand_in import card

CARD = card(name="tiny").model_copy(update={"version": "2"})


@pytest.mark.parametrize(("text", "fits"), [("tiny", True), ("tiny@2", True), ("tiny@1", False), ("tin", False)])
def test_a_name_fits_every_version_and_one_with_a_version_that_alone(text: str, fits: bool) -> None:
    assert ModelName.parse(text).fits(CARD) is fits


@pytest.mark.parametrize("text", ["", "@", "tiny@", "@2", "tiny@2@2"])
def test_what_lacks_a_name_or_a_version_is_refused(text: str) -> None:
    with pytest.raises(UnknownModelError, match=f"'{text}'; expected NAME or NAME@VERSION"):
        ModelName.parse(text)


@pytest.mark.parametrize("text", ["tiny", "tiny@2"])
def test_a_name_is_written_as_it_was_read(text: str) -> None:
    assert str(ModelName.parse(text)) == text


def test_a_card_names_its_own_version() -> None:
    assert str(ModelName.of(CARD)) == "tiny@2"
