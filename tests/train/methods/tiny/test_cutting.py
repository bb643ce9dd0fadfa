"""Objects are cut out where independent ways agree."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.sources import OBJECT, Cutter, Way

IMAGE = np.zeros((100, 120, 3), np.uint8)


def square(left: int, top: int, side: int = 40) -> NDArray[np.bool_]:
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[top : top + side, left : left + side] = True
    return mask


class Told(Cutter):
    """What each way says is told."""

    def __init__(self, *ways: Way) -> None:
        self._told = ways

    def _ways(self, image: NDArray[np.uint8], name: str) -> list[Way]:  # type: ignore[override]
        return [*self._told]


def test_the_object_is_where_two_ways_agree_and_unsure_where_any_sees_it() -> None:
    told = Told(Way("words", square(30, 30)), Way("colours", square(32, 30)), Way("head", square(30, 30, 60)))

    mask = told.cut(IMAGE, "spoon")

    assert mask is not None
    assert (mask[30:70, 32:70] == OBJECT).all()
    assert mask[80, 80] == IGNORE  # of the head's alone
    assert mask[5, 5] == 0


@pytest.mark.parametrize(
    "ways",
    [
        [Way("words", square(30, 30))],
        [Way("words", square(30, 30)), Way("words", square(30, 30))],
        [Way("words", square(30, 30)), Way("colours", square(60, 30))],
        [Way("words", square(30, 30)), Way("colours", square(30, 30)), Way("trunk", square(80, 60, 30))],
        [Way("words", square(0, 0, 120)), Way("colours", square(0, 0, 120))],
        [Way("words", square(30, 30, 6)), Way("colours", square(30, 30, 6))],
    ],
    ids=["one way", "of one kind", "elsewhere", "a third says otherwise", "all of it", "a crumb"],
)
def test_what_no_two_ways_agree_on_is_not_cut_out(ways: list[Way]) -> None:
    assert Told(*ways).cut(IMAGE, "spoon") is None
