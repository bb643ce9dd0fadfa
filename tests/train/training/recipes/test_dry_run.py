"""What a dry run makes of its measurements."""

import pytest

from lexiseg_train.training.recipes.dry_run import of_a_step


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (2.0, 4.0, 32.0),  # all is done for each batch
        (12.0, 14.0, 42.0),  # 10 s once a step, for the contrast of its pairs
        (4.0, 4.0, 32.0),  # noise
    ],
)
def test_what_comes_once_a_step_is_counted_once(one: float, two: float, expected: float) -> None:
    assert of_a_step(one, two, 16) == pytest.approx(expected)
