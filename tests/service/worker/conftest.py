"""What a model that goes costs in the process of the tests."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _tests_stay_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles are looked for among what came since the tests were collected; to look at everything takes a second."""
    monkeypatch.setattr("lexiseg_service.worker.models.device_memory.look_at_all", gc.collect)
