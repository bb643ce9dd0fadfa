"""One process alone; two are tested by the command that they run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexiseg_model.evaluation.counts import count
from lexiseg_model.evaluation.ranks import ALONE, device_of, ranks


def test_alone_the_sum_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    counts = count(np.array([0, 1]), np.array([0, 0]), 2)

    with ranks() as team:
        team.wait()
        assert team == ALONE
        assert team.first
        assert team.total(counts) is counts


def test_each_process_of_a_machine_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    assert device_of("auto") == "cuda:1"
    assert device_of("cpu") == "cpu"


def test_without_a_gpu_the_choice_is_left_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert device_of("auto") == "auto"
