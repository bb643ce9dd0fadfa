"""What holds for every test of the worker."""

from __future__ import annotations

import gc
import math

import pytest

from lexiseg_service.worker.costs import questions, trial


@pytest.fixture(autouse=True)
def _tests_stay_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles are looked for among what came since the tests were collected; to look at everything takes a second."""
    monkeypatch.setattr("lexiseg_service.worker.models.device_memory.look_at_all", gc.collect)


@pytest.fixture(autouse=True)
def _passes_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: how many tiles a pass has must not depend on how long the last ones took."""
    monkeypatch.setattr("lexiseg_service.worker.compute.stage.QUICK_ON_CPU", math.inf)


@pytest.fixture(autouse=True)
def _trials_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is tried before it is served is asked about few words as if they were many."""
    for module in (questions, trial):
        monkeypatch.setattr(module, "MANY", 20)
