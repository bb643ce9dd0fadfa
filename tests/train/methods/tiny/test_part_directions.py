"""Directions of parts: cells of a part are told from the rest of its whole, so that both are found."""

import numpy as np

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.part_directions import FEWEST, LEFT_OUT, WholeCells, fit


def photograph(seed: int) -> WholeCells:
    """A part that a number tells, roughly, one that few cells show, and one that the photograph does not mark."""
    random = np.random.default_rng(seed)
    is_part = np.arange(200) < 40
    numbers = random.normal(0, 1, (200, 3)) + 3 * is_part[:, None] * [1, 0, 0]
    parts = np.stack([is_part, np.zeros(200), np.full(200, IGNORE)], 1)
    return WholeCells(numbers.astype(np.float16), parts.astype(np.uint8))


def test_a_direction_divides_a_whole_and_rare_parts_get_none() -> None:
    cells = [photograph(seed) for seed in range(FEWEST * LEFT_OUT)]

    direction, *others = (fit(cells, part) for part in range(3))

    assert direction is not None
    seen = photograph(999)
    won = seen.numbers @ direction[:-1] + direction[-1] > 0
    is_part = seen.parts[:, 0] == 1
    assert (won & is_part).sum() / (won | is_part).sum() > 0.7
    assert others == [None, None]
