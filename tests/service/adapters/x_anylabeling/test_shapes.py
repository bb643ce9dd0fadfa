from __future__ import annotations

from lexiseg_model.types import Ring
from lexiseg_service.adapters.x_anylabeling import large_parts


def test_specks_beside_a_large_part_are_no_shapes() -> None:
    large, half, speck = (Ring([0, 0, side, 0, side, side, 0, side], []) for side in (40, 20, 4))

    assert [max(map(max, part)) for part in large_parts([speck, large, half])] == [40, 20]
    assert [max(map(max, part)) for part in large_parts([speck])] == [4]
