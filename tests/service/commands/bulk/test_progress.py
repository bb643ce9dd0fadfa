"""What a job says of how far it is."""

from __future__ import annotations

import pytest

from lexiseg_service.commands.bulk import progress
from lexiseg_service.commands.bulk.progress import Tally
from lexiseg_service.commands.bulk.segmenting import Report


class Clock:
    """`time`, for whoever is told the hour."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_pace_leaves_out_what_loading_the_model_took(clock: Clock) -> None:
    tally = Tally(1000, 0)
    for now, chunk in ((60.0, 0), (70.0, 1), (80.0, 2)):
        clock.now = now
        tally.add(Report(chunk, 100, 0, 100))

    assert tally.pace == 10
    assert str(tally) == "300 of 1,000 pictures, 10.0 a second, 0 failures, 70 s left"


def test_one_chunk_alone_has_a_pace_too(clock: Clock) -> None:
    tally = Tally(200, 100)
    clock.now = 20.0
    tally.add(Report(1, 100, 3, 100, ("a: torn", "b: torn", "c: torn")))

    assert str(tally) == "200 of 200 pictures, 5.0 a second, 3 failures, 0 s left"
    assert tally.failure_rate == 0.03
    assert tally.reasons == ["a: torn", "b: torn", "c: torn"]
