"""Fixtures of all worker tests."""

from pathlib import Path

import pytest
import torch

from tests.model.catalogue.test_models import copy_of_tiny


@pytest.fixture(autouse=True)
def _batches_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a quick GPU, whatever the machine: one thread takes batches of several tiles."""
    monkeypatch.setattr("lexiseg_service.worker.engine.choose_device", lambda name: torch.device("cuda"))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Holds `second`: the bundled model under another name."""
    return copy_of_tiny(tmp_path / "models", "second").parent
