"""The shared words: what classes and segments derive, and what a card refuses."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import UnknownModelError
from lexiseg_model.features import Derived
from lexiseg_model.model_name import ModelName
from tests.waiting import SOON


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
