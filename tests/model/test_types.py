"""The shared words: what classes and segments derive, and what a card refuses."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import UnknownModelError
from lexiseg_model.features import Derived, Features
from lexiseg_model.model_name import ModelName
from tests.model.stand_in import card
from tests.waiting import SOON

TINY_2 = card(name="tiny").model_copy(update={"version": "2"})


def test_a_card_survives_being_written_and_read() -> None:
    assert ModelCard.model_validate_json(card(["sky"]).model_dump_json()) == card(["sky"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("tasks", ["colouring"]), ("input", {"short_side": 8, "long_side": 64, "multiple": 1}), ("colour", "red")],
    ids=["unknown task", "too small an input", "unknown field"],
)
def test_a_card_refuses_what_it_does_not_know(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        ModelCard.model_validate(card().model_dump() | {field: value})


@pytest.mark.parametrize(("text", "fits"), [("tiny", True), ("tiny@2", True), ("tiny@1", False), ("tin", False)])
def test_a_name_fits_every_version_and_one_with_a_version_that_alone(text: str, fits: bool) -> None:
    assert ModelName.parse(text).fits(TINY_2) is fits


@pytest.mark.parametrize("text", ["", "@", "tiny@", "@2", "tiny@2@2"])
def test_what_lacks_a_name_or_a_version_is_refused(text: str) -> None:
    with pytest.raises(UnknownModelError, match=f"'{text}'; expected NAME or NAME@VERSION"):
        ModelName.parse(text)


def ones() -> tuple[Tensor]:
    return (torch.ones(8, dtype=torch.uint8),)


def test_what_many_ask_for_at_once_is_made_once() -> None:
    derived, makers = Derived(), 8
    together = threading.Barrier(makers)
    made: list[int] = []

    def ask(number: int) -> tuple[Tensor]:
        def make() -> tuple[Tensor]:
            made.append(number)
            return ones()

        together.wait(SOON)
        return derived.once("maps", make)

    with ThreadPoolExecutor(makers) as threads:
        answers = list(threads.map(ask, range(makers)))

    assert len(made) == 1
    assert all(answer is answers[0] for answer in answers)


def test_what_failed_is_tried_again() -> None:
    derived = Derived()
    with pytest.raises(ZeroDivisionError):
        derived.once("maps", lambda: (torch.ones(1 // 0),))

    assert derived.once("maps", ones)[0].sum() == 8


def test_features_grow_by_what_is_derived_from_them() -> None:
    features = Features((4, 4), {"pixels": torch.zeros(16, dtype=torch.uint8)})

    features.derived.once("maps", ones)

    assert features.nbytes == 24
