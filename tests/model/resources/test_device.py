"""Devices by name."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.resources.device import (
    choose_device,
    cores,
    forbid_tf32,
    held_bytes,
    inference_dtype,
    require_memory,
    widest_float,
)
from lexiseg_model.resources.lru import Lru


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x"])
def test_another_name_is_refused_with_what_is_expected(name: str) -> None:
    with pytest.raises(OptionError, match="expected auto, cpu, cuda, cuda:N or mps"):
        choose_device(name)


@pytest.mark.parametrize(
    ("bf16", "amx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_bfloat16_is_for_processors_that_have_it(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    assert inference_dtype(torch.device("cpu")) is expected


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one")
def test_an_apple_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="device 'mps': torch finds no Apple GPU"):
        choose_device("mps")


def test_an_apple_gpu_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    assert inference_dtype(choose_device("mps")) is torch.float32
    assert widest_float(torch.device("mps")) is torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_there_is_refused_with_what_torch_was_built_for() -> None:
    with pytest.raises(OptionError, match=r"torch finds no CUDA device; this torch is .*, built for"):
        choose_device("cuda")


def test_a_number_beyond_the_last_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert choose_device("cuda:1").index == 1
    with pytest.raises(OptionError, match="cuda:0 to cuda:1"):
        choose_device("cuda:2")


def test_convolutions_of_a_gpu_are_in_full_float32_where_tf32_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)

    forbid_tf32(torch.device("cpu"))
    assert torch.backends.cudnn.allow_tf32
    forbid_tf32(torch.device("cuda"))
    assert not torch.backends.cudnn.allow_tf32


def test_weights_beyond_the_free_memory_are_refused_with_what_to_do() -> None:
    require_memory("small", 1, torch.device("cpu"))

    with pytest.raises(WeightsError, match=r"huge needs 1,000,000,000 MB .* choose a smaller model"):
        require_memory("huge", 10**15, torch.device("cpu"))


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept = Lru[str, int](2)

    assert [kept.put("a", 1), kept.put("b", 2), kept.get("a"), kept.put("c", 3)] == [None, None, 1, 2]
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    assert kept.values() == (1, 3)


def test_an_lru_counts_weights_and_keeps_nothing_that_is_too_heavy() -> None:
    kept = Lru[str, int](5, lambda key, value: value)
    for key, value in (("a", 2), ("b", 3), ("b", 1), ("c", 2), ("d", 6), ("e", 2)):
        kept.put(key, value)

    assert kept.items() == (("b", 1), ("c", 2), ("e", 2))
    assert kept.weight == 5


LINEAR = 4 * (8 * 16 + 16)  # bytes: float32, weight and bias


def test_a_tensor_that_is_shared_is_counted_once() -> None:
    linear = nn.Linear(8, 16)

    assert held_bytes([linear, {"again": linear}, (linear.weight, linear.weight[:4])]) == LINEAR


def test_a_model_counts_its_network_and_its_text_tower() -> None:
    tower = held_bytes(load_text_tower())

    assert tower > 80e6
    assert tower < catalogue.load("tiny", precision="exact").nbytes < tower + 60e6


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", 64),
        ("10000000 100000", 64),
        ("nonsense", 64),
        (None, 64),
    ],
)
def test_a_quota_of_the_cgroup_counts_as_cores(
    quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(f"{quota}\n")

    assert cores(file) == expected
