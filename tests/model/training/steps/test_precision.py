import pytest
import torch

from lexiseg_model.training.steps.precision import number_type

CPU = torch.device("cpu")


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: torch.dtype
) -> None:
    # With AVX-512 but without bf16 instructions oneDNN emulates it: a step took six times as long as in float32.
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)

    assert number_type("auto", CPU) is expected


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_a_type_that_is_named_is_taken(name: str) -> None:
    assert number_type(name, CPU) is getattr(torch, name)  # type: ignore[arg-type]
