import time

import pytest

from lexiseg_service.commands.serving import serve
from lexiseg_service.commands.serving.serve import Child, Supervisor


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MIN_DELAY", 0.0)
    monkeypatch.setattr(serve, "MAX_DELAY", 0.0)


def ended(lived: float) -> tuple[Supervisor, Child]:
    """A supervisor whose worker's first life has ended with an error after some seconds."""
    worker = Child("worker-0", lambda: 1)
    both = Supervisor([worker], Child("gateway", lambda: 0))
    worker.lives, worker.started = 1, time.monotonic() - lived
    both._ended(worker, 1)
    return both, worker


def test_a_first_life_that_soon_ends_with_an_error_ends_the_service() -> None:
    both, _ = ended(lived=1)

    assert (both._stopping, both._status) == (True, 1)


def test_a_first_life_that_ends_after_days_is_followed_by_another() -> None:
    both, worker = ended(lived=3 * 86_400)

    assert (both._stopping, both._status) == (False, 0)
    assert worker.due > 0
