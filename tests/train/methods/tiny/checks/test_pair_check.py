"""The pair check: what counts as one name."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.methods.tiny.checks.pair_check import HEIGHT, Object, named
from tests.model.stand_in import ColourSegmenter

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def shown(name: str, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Object:
    image: NDArray[np.uint8] = np.full((HEIGHT, HEIGHT, 3), upper, np.uint8)
    image[HEIGHT // 2 :] = lower
    return Object(name, image, np.ones((HEIGHT, HEIGHT), bool))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (shown("red", RED, RED), (True, True, False)),
        (shown("red", RED, BLUE), (False, False, False)),
        (shown("red", BLUE, BLUE), (True, False, False)),
        (shown("red", GREEN, GREEN), (False, False, True)),
    ],
    ids=["its own", "woven of both", "the other's", "none"],
)
def test_an_object_has_one_name_where_nearly_all_of_it_has(left: Object, expected: tuple[bool, bool, bool]) -> None:
    segmenter = ColourSegmenter()

    outcomes = named(segmenter, left, shown("blue", BLUE, BLUE), KnownRows(segmenter))

    assert outcomes == [expected, (True, True, False)]
