"""Connected regions of label maps, masks without crumbs, and answers without specks."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.cards import SpeckRule
from lexiseg_model.masks.parts import CrumbRule, part_numbers, parts_around, without_crumbs
from lexiseg_model.masks.regions import split
from lexiseg_model.vocabulary.scoring import without_specks

pytestmark = pytest.mark.usefixtures("each_way")

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(0, 3))


def labels(*rows: str) -> NDArray[np.uint8]:
    return np.array([[int(letter) for letter in row] for row in rows], np.uint8)


def test_a_class_that_stays_whole_is_one_region_of_all_its_parts_however_small() -> None:
    found = split(labels("0210", "0010"), [0, 1, 2], smallest=2, whole={0, 2})

    assert found.owner.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [[0, 2, 1, 0], [0, 0, 1, 0]]


@given(maps)
def test_regions_are_disjoint_and_cover_their_classes(given_map: NDArray[np.uint8]) -> None:
    found = split(given_map, [0, 1, 2], smallest=1)

    assert np.array_equal(np.append(found.owner, 3)[found.labels], given_map)


CRUMBS = CrumbRule(island=0.1, hole=0.1)


@pytest.mark.parametrize(
    ("rows", "columns", "logit", "is_crumb"),
    [
        (slice(2, 4), slice(20, 22), 0.5, True),
        (slice(4, 6), slice(8, 10), -0.5, True),
        (slice(2, 6), slice(20, 24), 2.0, False),
        (slice(2, 7), slice(7, 12), -1.0, False),
        (slice(0, 1), slice(7, 9), -1.0, False),
    ],
    ids=["a small island", "a small hole", "a large island", "a large hole", "what touches the edge is no hole"],
)
def test_a_crumb_becomes_as_sure_of_the_contrary(rows: slice, columns: slice, logit: float, is_crumb: bool) -> None:
    mask = torch.full((1, 20, 30), -1.0)
    mask[0, 0:10, 5:15] = 2
    mask[0, rows, columns] = logit

    cleaned = without_crumbs(mask, CRUMBS)

    mask[0, rows, columns] *= -1 if is_crumb else 1
    assert torch.equal(cleaned, mask)


SPECKS = SpeckRule(island=0.3, most=0.2, hole=0.1, border=0.8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["000000", "000100", "000011", "000011"], ["000000", "000000", "000011", "000011"]),
        (["000000", "000200", "000000", "222222"], ["000000", "000000", "000000", "222222"]),
        (["000000", "002200", "000000", "111111"], ["000000", "000000", "000000", "111111"]),
        (["002000", "000000", "000000", "222222"], ["002000", "000000", "000000", "222222"]),
        (["000111", "000101", "010111", "000000"], ["000111", "000111", "000111", "000000"]),
        (["000222", "000122", "000222", "111222"], ["000222", "000122", "000222", "111222"]),
        (["000000", "001000", "000000", "000000"], ["000000", "001000", "000000", "000000"]),
    ],
    ids=[
        "a small island beside a larger region of its class",
        "a hole",
        "a hole, where no region of the background is larger",
        "a hole that touches the edge",
        "a hole, and an island",
        "a small island between two others",
        "the only region of a class",
    ],
)
def test_a_speck_is_of_the_class_around_it(before: list[str], after: list[str]) -> None:
    given_map = labels(*before)
    scores = torch.from_numpy(np.eye(3, dtype=np.float32)[given_map].transpose(2, 0, 1))

    cleaned = without_specks(scores, 2, SPECKS)

    assert np.array_equal(cleaned.argmax(0), labels(*after))
    assert torch.equal(cleaned.sort(0).values, scores.sort(0).values)


def spiral(side: int) -> torch.Tensor:
    """A path of one cell's width to the middle of a square."""
    region = np.zeros((side, side), bool)
    for ring in range(0, side // 2, 2):
        region[ring, max(0, ring - 2) : side - ring] = True
        region[ring : side - ring, side - 1 - ring] = True
        region[side - 1 - ring, ring : side - ring] = True
        region[ring + 2 : side - ring, ring] = True
    return torch.from_numpy(region)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_those_of_opencv(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((40, 57))
    region = cv2.GaussianBlur(noise, (0, 0), 2) > 0
    n_parts, expected = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)

    numbers = part_numbers(torch.from_numpy(region)).numpy()

    assert (numbers[~region] == -1).all()
    pairs = np.unique(np.stack([expected[region], numbers[region]]), axis=1)
    assert pairs.shape[1] == n_parts - 1  # each part has one number, and each number one part


def test_a_diagonal_and_a_spiral_are_one_part() -> None:
    steps = torch.eye(60, dtype=torch.bool) | torch.eye(60, dtype=torch.bool).roll(1, 1).triu()

    assert len(set(part_numbers(steps)[steps].tolist())) == 1
    assert len(set(part_numbers(spiral(31))[spiral(31)].tolist())) == 1


def test_the_parts_around_cells_are_those_that_hold_one() -> None:
    region = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    cells = torch.zeros_like(region)
    cells[1, 2:] = True

    assert parts_around(region, cells).int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert not parts_around(region, torch.zeros_like(region)).any()
