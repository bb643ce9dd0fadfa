from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg.checkpoint import CLIP, MASKS, flat_state, read_weights, restore_masks
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from tests.golden import golden_weights
from tests.model.methods.unpair_seg import golden

TOWERS = {"visual.trunk.stem.0.weight": torch.ones(2, 3), "logit_scale": torch.zeros(())}


def whole() -> dict[str, torch.Tensor]:
    """The authors' stage one with something in place of CLIP's towers."""
    return golden.official() | {CLIP + name: value for name, value in TOWERS.items()}


def test_parameters_have_the_published_names_and_number() -> None:
    with torch.device("meta"):
        masks = PromptableMasks()

    def millions(module: torch.nn.Module) -> float:
        return sum(each.numel() for each in module.parameters()) / 1e6

    assert set(flat_state({}, masks.state_dict())) == set(golden_weights.unpair_seg_head())
    assert millions(masks.pixel_decoder) == pytest.approx(5.790, abs=1e-3)
    assert millions(masks.predictor) == pytest.approx(16.188, abs=1e-3)


def test_weights_without_clip_say_which_one_belongs_to_them(tmp_path: Path) -> None:
    torch.save(golden.official(), tmp_path / "stage1.pth")

    with pytest.raises(WeightsError, match=r"towers have to be given with them: .* convnext_large_d_320"):
        read_weights(tmp_path / "stage1.pth")


def test_a_tensor_of_another_shape_is_reported() -> None:
    mask, bias = (
        f"{MASKS}predictor.{name}" for name in ("prompt_encoder.mask_emb", "transformer_ffn_layers.0.linear1.bias")
    )
    with pytest.raises(WeightsError, match=r"prompt_encoder\.mask_emb is \[1, 4, 256\]; expected \[1, 5, 256\]"):
        restore_masks(golden.official() | {mask: torch.zeros(1, 4, 256)})
    with pytest.raises(WeightsError, match=r"layers\.0\.linear1\.bias is \[1, 2\]; expected 1 axes"):
        restore_masks(golden.official() | {bias: torch.zeros(1, 2)})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_both_stages_is_read_with_its_adapter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stage2{suffix}"
    state = whole() | {"adapter.output.bias": torch.ones(3)}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)

    found = read_weights(path)

    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "network."])
def test_wrappers_of_training_and_its_losses_are_left_out(tmp_path: Path, prefix: str) -> None:
    wrapped = {prefix + key: value for key, value in whole().items()}
    losses = {"criterion.empty_weight": torch.zeros(3), f"{prefix}criterion.points": torch.zeros(1)}
    torch.save({"model": wrapped | losses}, tmp_path / "stage1.pth")

    found = read_weights(tmp_path / "stage1.pth")

    assert found.keys() == whole().keys()
    assert all(torch.equal(found[key], value) for key, value in whole().items())
