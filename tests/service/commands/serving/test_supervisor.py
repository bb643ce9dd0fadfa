import time

import pytest

from lexiseg_service.commands.serving.serve import LONG_LIFE, Child, Supervisor


def test_a_child_is_restarted_with_delays_that_grow_until_it_has_lived_long() -> None:
    child = Child("worker-0", lambda: 1, started=1e9)

    assert [child.schedule() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    child.started = -LONG_LIFE
    assert child.schedule() == 0.5


@pytest.mark.parametrize(("lived", "ends"), [(1, True), (3 * 86_400, False)])
def test_a_first_life_that_soon_ends_with_an_error_ends_the_service(lived: float, ends: bool) -> None:
    worker = Child("worker-0", lambda: 1, lives=1, started=time.monotonic() - lived)
    both = Supervisor([worker], Child("gateway", lambda: 0))

    both._ended(worker, 1)

    assert (both._stopping, both._status, worker.due > 0) == (ends, int(ends), not ends)
