from __future__ import annotations

import threading

import pytest

from lexiseg_model.evaluation.read_ahead import READ_AHEAD, read_ahead


def test_items_come_in_order_with_what_was_read() -> None:
    assert list(read_ahead(range(7), str)) == [(number, str(number)) for number in range(7)]


def test_the_next_are_read_while_one_is_worked_on() -> None:
    read = {number: threading.Event() for number in range(9)}

    for number, _ in read_ahead(range(9), lambda number: read[number].set()):
        following = range(number + 1, min(number + 1 + READ_AHEAD, 9))
        assert all(read[later].wait(30) for later in following)


def test_a_failure_comes_where_its_item_would() -> None:
    def read(number: int) -> int:
        return 6 // (2 - number)

    items = read_ahead(range(5), read)

    assert [next(items), next(items)] == [(0, 3), (1, 6)]
    with pytest.raises(ZeroDivisionError):
        next(items)
