"""Fixtures of all worker tests."""

import math

import pytest
import torch


@pytest.fixture(autouse=True)
def _batches_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a quick GPU, whatever the machine: one thread takes batches of several tiles, however long they take."""
    monkeypatch.setattr("lexiseg_service.worker.engine.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("lexiseg_service.worker.compute.MAX_PASS_SECONDS", math.inf)
