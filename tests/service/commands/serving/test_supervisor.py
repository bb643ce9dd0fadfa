from __future__ import annotations

from lexiseg_service.commands.serving.supervisor import LONG_LIFE, Child


def test_a_child_that_keeps_failing_is_restarted_with_growing_delays() -> None:
    child = Child("worker-0", lambda: 1, started=1e9)

    assert [child.schedule() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_child_that_has_lived_long_is_restarted_soon() -> None:
    child = Child("worker-0", lambda: 1, short_lives=5, started=-LONG_LIFE)

    assert child.schedule() == 0.5
