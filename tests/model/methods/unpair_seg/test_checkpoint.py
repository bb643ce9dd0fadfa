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
    restore,
    restore_masks,
    to_official,
)
from lexiseg_model.methods.unpair_seg.names import learned_names
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.settings import PUBLISHED, sizes_of
from tests.golden import golden_weights
from tests.model.methods.unpair_seg import golden, small

CLIP = {"visual.trunk.stem.0.weight": torch.ones(2, 3), "logit_scale": torch.zeros(())}


def test_every_tensor_of_the_authors_has_its_place_in_the_network() -> None:
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


def test_there_and_back_nothing_is_lost() -> None:
    official = golden.official() | {f"backbone.clip_model.{name}": value for name, value in CLIP.items()}

    back = to_official(from_official(official))

    assert back.keys() == official.keys()
    assert all(torch.equal(back[name], value) for name, value in official.items())


def test_towers_may_come_from_elsewhere_and_half_precision_becomes_whole() -> None:
    halves = {name: value.half() for name, value in golden.official().items()}

    state = from_official(halves, CLIP)

    assert {name for name in state if name.startswith("clip.")} == {f"clip.{name}" for name in CLIP}
    assert all(value.dtype == torch.float32 for value in state.values())


def test_weights_without_clip_say_which_one_belongs_to_them() -> None:
    with pytest.raises(WeightsError, match=r"towers have to be given with them: .* convnext_large_d_320"):
        from_official(golden.official())


def test_a_tensor_of_another_shape_is_named() -> None:
    state = {MASKS + name: value for name, value in golden.masks().state_dict().items()}
    state[f"{MASKS}prompt_encoder.mask"] = torch.zeros(1, 4, 256)

    with pytest.raises(WeightsError, match=r"prompt_encoder\.mask is \[1, 4, 256\]; expected \[1, 5, 256\]"):
        restore_masks(state)
    with pytest.raises(WeightsError, match=r"^mask_emb is \[1, 4, 256\]; expected \[1, 5, 256\]"):
        restore_masks(state, {f"{MASKS}prompt_encoder.mask": "mask_emb"})
    state[f"{MASKS}mask_decoder.layers.0.up.bias"] = torch.zeros(1, 2)
    with pytest.raises(WeightsError, match=r"^masks\.mask_decoder\.layers\.0\.up\.bias is \[1, 2\]; expected 1 axes"):
        restore_masks(state)


@pytest.mark.slow  # the whole of CLIP is built before its weights are looked at
def test_another_clip_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"convnext_large_d_320"):
        restore(from_official(golden.official(), CLIP))


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_is_read_wrapped_or_bare(tmp_path: Path, wrapped: bool) -> None:
    path = tmp_path / "stage1.pth"
    torch.save({"model": golden.official(), "iteration": 3} if wrapped else golden.official(), path)

    assert read_weights(path, CLIP).state.keys() == from_official(golden.official(), CLIP).keys()


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


def test_towers_in_the_file_and_beside_it_must_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "stage1.pth"
    torch.save(golden.official() | {f"backbone.clip_model.{name}": value.half() for name, value in CLIP.items()}, path)

    assert read_weights(path, CLIP).state["clip.logit_scale"] == 0
    with pytest.raises(WeightsError, match=r"stage1\.pth: .* another CLIP .*: logit_scale differs"):
        read_weights(path, CLIP | {"logit_scale": torch.ones(())})


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stage1.pth"
    torch.save({"model": {"iteration": 3}}, path)

    with pytest.raises(WeightsError, match="no state dict of Unpair-Seg"):
        read_weights(path)
    with pytest.raises(WeightsError, match="no weights at"):
        read_weights(tmp_path / "none.pth")


def test_sizes_are_read_off_the_weights() -> None:
    assert sizes_of(golden.masks().state_dict()) == PUBLISHED
    made = small.network()

    restored = restore_masks({MASKS + name: value for name, value in made.state_dict().items()})

    assert restored.sizes == made.sizes
    assert all(torch.equal(restored.state_dict()[name], value) for name, value in made.state_dict().items())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pixel_decoder.lateral.conv.weight", torch.zeros(24, 8, 1, 1), "a width of 24 with 4 heads"),
        ("pixel_decoder.layers.0.up.bias", torch.zeros(()), "expected 1 axes"),
        ("mask_decoder.layers.0.up.bias", None, "missing mask_decoder.layers.0.up.bias"),
    ],
)
def test_weights_that_tell_no_size_are_refused(name: str, value: torch.Tensor | None, said: str) -> None:
    state = dict(small.network().state_dict())
    del state[name]
    if value is not None:
        state[name] = value

    with pytest.raises(WeightsError, match=said):
        sizes_of(state)
