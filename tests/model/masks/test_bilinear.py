"""Where pixels lie between cells is kept of the pictures that were asked about last, however long they are."""

from __future__ import annotations

from lexiseg_model.masks.bilinear import AXES, AXIS, MOST_BYTES, axes, axis
from lexiseg_model.memory import table_bytes


def test_pictures_that_are_all_length_leave_no_more_than_there_is_room_for() -> None:
    widths = [1_000_000 + number for number in range(4)]  # 12 MB each

    for width in widths:
        assert axes((4, 160), (16, width)).size == (16, width)
        assert len(axis(160, width).low) == width

    for tables in (AXES, AXIS):
        assert 24_000_000 < tables.nbytes <= MOST_BYTES
    assert table_bytes() >= AXES.nbytes + AXIS.nbytes
    assert axes((4, 160), (16, widths[-1])) is axes((4, 160), (16, widths[-1]))
