"""Fixtures of all worker tests."""

import math

import pytest


@pytest.fixture(autouse=True)
def _passes_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: how many tiles a pass has must not depend on how long the last ones took."""
    monkeypatch.setattr("lexiseg_service.worker.compute.MAX_PASS_SECONDS_ON_CPU", math.inf)
