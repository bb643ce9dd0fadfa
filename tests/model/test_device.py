"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.device import choose_device, inference_dtype, require_memory
from lexiseg_model.errors import OptionError, ShortMemoryError


@pytest.mark.parametrize("name", ["tpu", "mps", "", "cuda:x"])
def test_another_name_is_refused_with_what_is_expected(name: str) -> None:
    with pytest.raises(OptionError, match="expected auto, cpu, cuda or cuda:N"):
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


def test_weights_beyond_the_free_memory_are_refused_with_what_to_do() -> None:
    require_memory("small", 1, torch.device("cpu"))

    with pytest.raises(ShortMemoryError, match=r"huge needs 1,000,000,000 MB .* choose a smaller model"):
        require_memory("huge", 10**15, torch.device("cpu"))
