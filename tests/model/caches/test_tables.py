"""Tables of sizes are worked out once, and no more of them are kept than there are bytes for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.caches.tables import Tables


class Table(NamedTuple):
    places: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        return self.places.nbytes


def table(length: int) -> Table:
    return Table(np.zeros(length, np.uint8))


def test_a_table_is_worked_out_once() -> None:
    tables = Tables[Table](100)

    first = tables.once("a", lambda: table(40))

    assert tables.once("a", lambda: table(50)) is first
    assert tables.nbytes == 40


def test_what_was_not_used_for_longest_goes_when_there_is_no_room() -> None:
    tables = Tables[Table](100)
    kept = {key: tables.once(key, lambda: table(40)) for key in "ab"}
    tables.once("a", lambda: table(1))

    tables.once("c", lambda: table(40))

    assert tables.nbytes == 80
    assert tables.once("a", lambda: table(1)) is kept["a"]
    assert tables.once("b", lambda: table(40)) is not kept["b"]


def test_a_table_larger_than_all_room_is_not_kept() -> None:
    tables = Tables[Table](100)
    kept = tables.once("a", lambda: table(40))

    assert tables.once("b", lambda: table(101)).nbytes == 101

    assert tables.nbytes == 40
    assert tables.once("a", lambda: table(1)) is kept
