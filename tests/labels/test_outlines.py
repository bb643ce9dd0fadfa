"""Numbers of annotation files are checked before C code sees them."""

import math

import pytest

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import box_outline, checked_box, checked_outline, checked_size

SIZE = (40, 60)
SQUARE = [5.0, 5.0, 25.0, 5.0, 25.0, 25.0, 5.0, 25.0]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e9, -1e9, 1e7, 1e300, 10**400])
@pytest.mark.parametrize("place", [0, 1])
def test_a_polygon_with_an_impossible_corner_is_refused(number: float, place: int) -> None:
    ring = [*SQUARE]
    ring[place] = number

    with pytest.raises(UnreadableLabels, match=r"a polygon with|too large|a mask that cannot be read"):
        checked_outline([ring], SIZE)


def test_a_polygon_that_takes_all_memory_by_its_length_is_refused() -> None:
    with pytest.raises(UnreadableLabels, match="pixels in length; expected at most 2,097,152"):
        checked_outline([[0, 0, 60, 40] * 50_000], SIZE)


@pytest.mark.parametrize(
    "counts",
    [
        [math.nan, 2400],
        [math.inf],
        [-1, 2401],
        [2**70, -(2**70) + 2400],
        [2400.5],
        ["a"],
        [None],
        [[2400]],
        [],
        "\ud800",
    ],
)
def test_impossible_run_lengths_are_refused(counts: object) -> None:
    with pytest.raises(UnreadableLabels, match=r"a mask that cannot be read|runs that sum to|a run of"):
        checked_outline({"size": [40, 60], "counts": counts}, SIZE)


@pytest.mark.parametrize("size", [[math.inf, 60], [math.nan, 60], [40], None, 40, ["a", "b"]])
def test_a_mask_of_an_impossible_size_is_refused(size: object) -> None:
    with pytest.raises(UnreadableLabels, match="a mask that cannot be read"):
        checked_outline({"size": size, "counts": [2400]}, SIZE)


@pytest.mark.parametrize(
    "size", [(0, 5), (-3, 5), (10**9, 10**9), (math.nan, 5), (math.inf, 5), (None, 5), (4.5, 5), ("many", 5)]
)
def test_an_impossible_size_of_a_photograph_is_refused(size: tuple[object, object]) -> None:
    with pytest.raises(UnreadableLabels, match=r"expected 1 to 65,536 a side|a side that \S+ is not a whole number"):
        checked_size(*size)


def test_a_size_may_be_text() -> None:
    assert checked_size("480", 640.0) == (480, 640)


@pytest.mark.parametrize(
    "box", [[1, 2, -3, 4], [1, 2, 3, 0], [math.nan, 2, 3, 4], [1, 2, 3, math.inf], [1, 2, 3], "box"]
)
def test_an_impossible_box_is_refused(box: object) -> None:
    with pytest.raises(UnreadableLabels, match="a box of"):
        checked_box(box)


def test_a_far_box_is_cut_to_its_photograph_or_refused() -> None:
    assert box_outline((50.0, 30.0, 1e9, 1e9), SIZE) == [[50.0, 30.0, 60.0, 30.0, 60.0, 40.0, 50.0, 40.0]]
    with pytest.raises(UnreadableLabels, match="outside its photograph of 60 x 40"):
        box_outline((100.0, 30.0, 5.0, 5.0), SIZE)
