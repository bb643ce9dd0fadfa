"""Numbers of annotation files are checked before C code sees them."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import box_outline, checked_box, checked_outline, checked_size

SIZE = (40, 60)
SQUARE = [5.0, 25.0, 5.0, 25.0, 25.0, 5.0, 25.0]  # without the first coordinate
FAR = (math.nan, math.inf, -math.inf, 1e9, -1e9, 1e7, 1e300, 10**400)
RUNS: list[Any] = [
    *([math.nan, 2400], [math.inf], [-1, 2401], [2**70, -(2**70) + 2400], [2400.5], ["a"], [None], [[2400]], []),
    "\ud800",
]
SIZES: list[Any] = [[math.inf, 60], [math.nan, 60], [40], None, 40, ["a", "b"]]
SIDES = [(0, 5), (-3, 5), (10**9, 10**9), (math.nan, 5), (math.inf, 5), (None, 5), (4.5, 5), ("many", 5)]
BOXES: list[Any] = [[1, 2, -3, 4], [1, 2, 3, 0], [math.nan, 2, 3, 4], [1, 2, 3, math.inf], [1, 2, 3], "box"]
IMPOSSIBLE: list[tuple[Callable[..., object], tuple[Any, ...], str]] = [
    *(
        (checked_outline, ([ring], SIZE), r"a polygon with|too large|a mask that cannot be read")
        for number in FAR
        for ring in ([number, *SQUARE], [SQUARE[0], number, *SQUARE[1:]])
    ),
    (checked_outline, ([[0, 0, 60, 40] * 50_000], SIZE), "pixels in length; expected at most 2,097,152"),
    *(
        (
            checked_outline,
            ({"size": [40, 60], "counts": counts}, SIZE),
            r"a mask that cannot be read|runs that sum to|a run of",
        )
        for counts in RUNS
    ),
    *((checked_outline, ({"size": size, "counts": [2400]}, SIZE), "a mask that cannot be read") for size in SIZES),
    *((checked_size, sides, r"expected 1 to 65,536 a side|a side that \S+ is not a whole number") for sides in SIDES),
    *((checked_box, (box,), "a box of") for box in BOXES),
    (box_outline, ((100.0, 30.0, 5.0, 5.0), SIZE), "outside its photograph of 60 x 40"),
]


@pytest.mark.parametrize(("check", "arguments", "said"), IMPOSSIBLE)
def test_what_no_file_can_mean_is_refused(check: Callable[..., object], arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UnreadableLabels, match=said):
        check(*arguments)


def test_a_size_may_be_text_and_a_far_box_is_cut_to_its_photograph() -> None:
    assert checked_size("480", 640.0) == (480, 640)
    assert box_outline((50.0, 30.0, 1e9, 1e9), SIZE) == [[50.0, 30.0, 60.0, 30.0, 60.0, 40.0, 50.0, 40.0]]
