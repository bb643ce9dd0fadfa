"""Connected regions of label maps, and what becomes of specks, holes and crumbs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.regions import split
from lexiseg_model.masks.specks import CrumbRule, SpeckRule, without_crumbs, without_specks

pytestmark = pytest.mark.usefixtures("each_way")

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(0, 3))


def labels(*rows: str) -> NDArray[np.uint8]:
    return np.array([[int(letter) for letter in row] for row in rows], np.uint8)


def test_two_parts_of_a_class_are_two_regions() -> None:
    found = split(labels("00100", "00100"), [0], smallest=1)

    assert found.owner.tolist() == [0, 0]
    assert found.labels.tolist() == [[0, 0, 2, 1, 1], [0, 0, 2, 1, 1]]


def test_small_parts_belong_to_nobody() -> None:
    found = split(labels("01000"), [0], smallest=2)

    assert found.owner.tolist() == [0]
    assert found.labels.tolist() == [[1, 1, 0, 0, 0]]


def test_a_class_that_stays_whole_is_one_region_of_all_its_parts_however_small() -> None:
    found = split(labels("0210", "0010"), [0, 1, 2], smallest=2, whole={0, 2})

    assert found.owner.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [[0, 2, 1, 0], [0, 0, 1, 0]]


@given(maps)
def test_regions_are_disjoint_and_cover_their_classes(given_map: NDArray[np.uint8]) -> None:
    found = split(given_map, [0, 1, 2], smallest=1)

    owners = np.append(found.owner, 3)[found.labels]

    assert np.array_equal(owners, given_map)


RULE = SpeckRule(area=0.05, part=0.2, least=0.005)
CAT, DOG, NOBODY = 0, 1, 2


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


CRUMBS = CrumbRule(island=0.1, hole=0.1)


@pytest.fixture
def mask() -> Tensor:
    """[1, 20, 30] logits of a square of 10 x 10 at 2 logits, in nothing at -1."""
    mask = torch.full((1, 20, 30), -1.0)
    mask[0, 5:15, 5:15] = 2
    return mask


def test_a_small_island_becomes_as_sure_of_the_contrary(mask: Tensor) -> None:
    whole = mask.clone()
    mask[0, 2:4, 20:22] = 0.5

    cleaned = without_crumbs(mask, CRUMBS)

    assert (cleaned[0, 2:4, 20:22] == -0.5).all()
    cleaned[0, 2:4, 20:22] = -1
    assert torch.equal(cleaned, whole)


def test_a_small_hole_is_filled(mask: Tensor) -> None:
    mask[0, 8:10, 8:10] = -0.5

    cleaned = without_crumbs(mask, CRUMBS)

    assert (cleaned[0, 5:15, 5:15] > 0).all()


def test_a_large_island_and_a_large_hole_stay(mask: Tensor) -> None:
    mask[0, 7:12, 7:12] = -1
    mask[0, 2:6, 20:24] = 2

    assert torch.equal(without_crumbs(mask, CRUMBS), mask)


def test_what_touches_the_edge_of_the_picture_is_no_hole() -> None:
    mask = torch.ones(1, 20, 30)
    mask[0, 0, 3:5] = -1

    assert torch.equal(without_crumbs(mask, CRUMBS), mask)
