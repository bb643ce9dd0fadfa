"""Directions of parts: cells of a part are told from the rest of its whole, so that both are found."""

import numpy as np

from lexiseg_model.methods.tiny.settings import Parts as Kind
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.cells import NO_PARTS, Cells
from lexiseg_train.methods.tiny.part_directions import FEWEST, LEFT_OUT, WholeCells, cells_of_kind, fit

HEAD, EYE, TAIL = 1, 2, 3
N, PHOTOGRAPHS = 200, FEWEST * LEFT_OUT


def cells() -> WholeCells:
    """Heads that a number tells, roughly, with eyes on them that it tells, too, and few cells that are not known."""
    random = np.random.default_rng(0)
    part = np.zeros(N, np.uint8)
    part[:40], part[40:50], part[50:60] = HEAD, EYE, IGNORE
    numbers = random.normal(0, 1, (PHOTOGRAPHS, N, 3)) + 3 * (np.isin(part, [HEAD, EYE]))[:, None] * [1, 0, 0]
    of_each = np.repeat(np.arange(PHOTOGRAPHS, dtype=np.int32), N)
    tiled = np.tile(part, PHOTOGRAPHS)
    return WholeCells(numbers.reshape(-1, 3).astype(np.float16), tiled, of_each, np.ones(len(tiled), bool))


def test_a_direction_divides_a_whole_and_rare_parts_get_none() -> None:
    some = cells()

    direction, other = fit(some, HEAD, above=[EYE]), fit(some, TAIL)

    assert direction is not None
    won, is_head = some.numbers @ direction[:-1] + direction[-1] > 0, np.isin(some.part, [HEAD, EYE])
    assert (won & is_head).sum() / (won | is_head).sum() > 0.7
    assert other is None


def test_only_things_of_the_kind_with_marked_parts_are_learned_from() -> None:
    value = np.array([1, 1, 2, 2, 1, 1], np.uint8)  # dogs and a sofa; nobody has marked parts of the last dog
    part = np.array([HEAD, 0, 0, 0, 0, 0], np.uint8)
    of_each, rows = np.array([0, 0, 0, 1, 1, 2], np.int32), np.arange(6, dtype=np.float16)[:, None]
    part[of_each > 0] = NO_PARTS
    whole = np.zeros((3, 1), np.float16)
    classes = ("background", "dog", "sofa")
    own = Cells("voc", classes, rows, whole, whole, np.ones(3, np.int64), of_each, value, part, value > 0)

    some = cells_of_kind([own, own], Kind(wholes=frozenset(["dog"]), directions={}))

    assert some.numbers.ravel().tolist() == [0, 1, 0, 1]
    assert some.photograph.tolist() == [0, 0, 3, 3]
