from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg.checkpoint import (
    MASKS,
    from_official,
    read_weights,
    restore_masks,
    to_official,
)
from lexiseg_model.methods.unpair_seg.names import learned_names
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from tests.golden import golden_weights
from tests.model.methods.unpair_seg import golden

CLIP = {"visual.trunk.stem.0.weight": torch.ones(2, 3), "logit_scale": torch.zeros(())}


def test_every_published_tensor_has_a_parameter() -> None:
    assert set(learned_names().values()) == set(golden_weights.unpair_seg_head())
    with torch.device("meta"):
        assert set(learned_names()) == set(PromptableMasks().state_dict())


def test_the_learned_part_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        masks = PromptableMasks()

    def millions(module: torch.nn.Module) -> float:
        return sum(each.numel() for each in module.parameters()) / 1e6

    assert millions(masks.pixel_decoder) == pytest.approx(5.790, abs=1e-3)
    assert millions(masks.mask_decoder) + millions(masks.prompt_encoder) == pytest.approx(16.188, abs=1e-3)


def test_a_checkpoint_round_trips() -> None:
    official = golden.official() | {f"backbone.clip_model.{name}": value for name, value in CLIP.items()}

    back = to_official(from_official(official))

    assert back.keys() == official.keys()
    assert all(torch.equal(back[name], value) for name, value in official.items())


def test_weights_without_clip_say_which_one_belongs_to_them() -> None:
    with pytest.raises(WeightsError, match=r"towers have to be given with them: .* convnext_large_d_320"):
        from_official(golden.official())


def test_a_tensor_of_another_shape_is_reported() -> None:
    state = {MASKS + name: value for name, value in golden.masks().state_dict().items()}
    state[f"{MASKS}prompt_encoder.mask"] = torch.zeros(1, 4, 256)

    with pytest.raises(WeightsError, match=r"prompt_encoder\.mask is \[1, 4, 256\]; expected \[1, 5, 256\]"):
        restore_masks(state)
    with pytest.raises(WeightsError, match=r"^mask_emb is \[1, 4, 256\]; expected \[1, 5, 256\]"):
        restore_masks(state, {f"{MASKS}prompt_encoder.mask": "mask_emb"})
    state[f"{MASKS}mask_decoder.layers.0.up.bias"] = torch.zeros(1, 2)
    with pytest.raises(WeightsError, match=r"^masks\.mask_decoder\.layers\.0\.up\.bias is \[1, 2\]; expected 1 axes"):
        restore_masks(state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_our_own_training_is_read_with_its_adapter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stage2{suffix}"
    state = from_official(golden.official(), CLIP) | {"adapter.output.bias": torch.ones(3)}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)

    found = read_weights(path)

    assert found.own
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], value) for name, value in state.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "network."])
def test_wrappers_of_training_and_its_losses_are_left_out(tmp_path: Path, prefix: str) -> None:
    authors = golden.official() | {f"backbone.clip_model.{name}": value for name, value in CLIP.items()}
    own = from_official(golden.official(), CLIP)
    for name, state in (("authors", authors), ("own", own)):
        wrapped = {prefix + key: value for key, value in state.items()}
        losses = {"criterion.empty_weight": torch.zeros(3), f"{prefix}criterion.points": torch.zeros(1)}
        torch.save({"model": wrapped | losses}, tmp_path / f"{name}.pth")

        found = read_weights(tmp_path / f"{name}.pth")

        assert found.own == (name == "own")
        assert found.state.keys() == own.keys()
        assert all(torch.equal(found.state[key], value) for key, value in own.items())
