"""What features keep of what is derived from them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from lexiseg_model.features import Derived, Features

SOON = 20.0  # seconds that nothing here should need


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
