"""Specks go to what surrounds them; regions that stand alone, and large ones, stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.masks.specks import SpeckRule, without_specks

RULE = SpeckRule(area=0.05, part=0.2, least=0.005)
CAT, DOG, NOBODY = 0, 1, 2


@pytest.fixture(params=[True, False], ids=["compiled", "numpy"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(library, "ready", lambda: False)


def picture(*regions: tuple[int, slice, slice]) -> Tensor:
    """[3, 20, 20]: nobody wins with 2 but where regions say who does, with 3."""
    logits = torch.arange(3.0)[:, None, None].expand(3, 20, 20).clone()
    for owner, rows, columns in regions:
        logits[owner, rows, columns] = 3.0
    return logits


LARGE = (CAT, slice(0, 10), slice(0, 20))


def test_a_speck_beside_a_larger_region_of_its_class_is_nobodys() -> None:
    logits = picture(LARGE, (CAT, slice(15, 18), slice(4, 7)))

    winner = without_specks(logits, 2, RULE).argmax(0)

    assert (winner[:10] == CAT).all()
    assert (winner[10:] == NOBODY).all()


def test_a_small_region_that_is_its_classes_largest_stays() -> None:
    logits = picture(LARGE, (DOG, slice(15, 18), slice(4, 7)))

    assert torch.equal(without_specks(logits, 2, RULE), logits)


def test_what_is_smaller_than_anything_goes_alone_or_not() -> None:
    logits = picture(LARGE, (DOG, slice(15, 16), slice(4, 5)))

    assert DOG not in without_specks(logits, 2, RULE).argmax(0)


def test_a_small_hole_is_filled_by_what_surrounds_it() -> None:
    logits = picture(LARGE)
    logits[CAT, 4:7, 4:7] = -1.0

    assert (without_specks(logits, 2, RULE).argmax(0)[:10] == CAT).all()


def test_a_speck_inside_another_class_is_that_classs_with_the_logit_of_the_old_winner() -> None:
    logits = picture(LARGE, (DOG, slice(12, 20), slice(0, 20)))
    logits[DOG, 4:6, 4:6] = 5.0

    tidied = without_specks(logits, 2, RULE)

    assert (tidied[CAT, 4:6, 4:6] == 5.0).all()
    assert (tidied[DOG, 4:6, 4:6] == 3.0).all()
    assert torch.equal(tidied.sort(0).values, logits.sort(0).values)
