"""Whether a worker stood still while it had something to do."""

from __future__ import annotations

import pytest

from lexiseg_service.fleet.links import LONG, Voice


class Clock:
    """Shows what it is set to, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("words", "moment", "now", "expected"),
    [
        ((), 100.0, 200.0, False),  # who never spoke has not fallen silent
        ((100.0, 100.5, 101.0), 100.0, 101.5, False),
        ((100.0,), 100.0, 100.0 + LONG, True),
        ((100.0, 100.0 + LONG), 101.0, 100.5 + LONG, True),  # it speaks again
        ((100.0, 110.0, 110.5), 110.0, 111.0, False),  # that was before
    ],
)
def test_a_worker_failed_who_was_silent_for_long_since_then(
    words: tuple[float, ...], moment: float, now: float, expected: bool
) -> None:
    clock = Clock()
    voice = Voice(clock)
    for clock.now in words:
        voice.heard()
    clock.now = now

    assert voice.failed_since(moment) is expected
