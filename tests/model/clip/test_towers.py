"""Both towers from the hub's cache, from files, from memory; what an image tower takes."""

import logging
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from open_clip import pretrained
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.towers import clip_from_files, clip_from_hub, clip_from_state, known_architecture
from lexiseg_model.clip.vision import require_plain_vit, tokens_before_last_block
from lexiseg_model.errors import OptionError, ShapeError, WeightsError
from tests.model.clip import small

ARCHITECTURE = small.ARCHITECTURE


@pytest.fixture(autouse=True)
def _small_architecture() -> None:
    small.register()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub's cache that holds the weights of tag `known`, and no hub behind it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    tags = {
        "known": {"hf_hub": "somebody/small/", "quick_gelu": True},
        "exact": {"hf_hub": "somebody/small/"},
        "unknown": {"hf_hub": "somebody/else/"},
    }
    monkeypatch.setitem(pretrained._PRETRAINED, ARCHITECTURE, tags)
    repository = tmp_path / "models--somebody--small"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(small.state(), repository / "snapshots" / "abc" / "open_clip_model.safetensors")


def activations(model: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in model.modules() if isinstance(module, QuickGELU | nn.GELU)}


@pytest.mark.parametrize(("quick", "expected"), [(True, QuickGELU), (False, nn.GELU)])
def test_both_towers_get_the_activation(quick: bool, expected: type[nn.Module]) -> None:
    towers = clip_from_state(ARCHITECTURE, small.state(), quick_gelu=quick)

    assert activations(towers.model) == {expected}
    assert activations(towers.visual) == {expected}
    assert towers.quick_gelu is quick


def test_a_file_for_each_tower_makes_a_model(tmp_path: Path) -> None:
    visual = {name.removeprefix("visual."): value for name, value in small.state().items() if name[:7] == "visual."}
    text = {name: value for name, value in small.state().items() if name[:7] != "visual."}
    torch.save(visual, tmp_path / "visual.pt")
    torch.save(text, tmp_path / "text.pt")

    towers = clip_from_files(ARCHITECTURE, [tmp_path / "visual.pt", tmp_path / "text.pt"], quick_gelu=False)

    assert torch.equal(towers.state["visual.proj"], small.state()["visual.proj"])
    with pytest.raises(WeightsError, match="no text tower"):
        clip_from_files(ARCHITECTURE, [tmp_path / "visual.pt"], quick_gelu=False)
    with pytest.raises(WeightsError, match="no image tower"):
        clip_from_files(ARCHITECTURE, [tmp_path / "text.pt"], quick_gelu=False)


def test_files_of_different_activations_are_refused(tmp_path: Path) -> None:
    numbers = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save(small.state() | numbers, tmp_path / "openai.pt")
    torch.save({"epoch": 1, "name": ARCHITECTURE, "state_dict": small.state()}, tmp_path / "trained.pt")

    with pytest.raises(WeightsError, match="different activations"):
        clip_from_files(ARCHITECTURE, [tmp_path / "openai.pt", tmp_path / "trained.pt"])


def test_weights_of_another_model_are_refused() -> None:
    state = small.state()
    lacking = {name: value for name, value in state.items() if name != "visual.ln_pre.bias"}

    with pytest.raises(WeightsError, match=r"missing visual\.ln_pre\.bias"):
        clip_from_state(ARCHITECTURE, lacking, quick_gelu=False)
    with pytest.raises(WeightsError, match="unexpected extra"):
        clip_from_state(ARCHITECTURE, state | {"extra": torch.zeros(1)}, quick_gelu=False)
    with pytest.raises(WeightsError, match=r"visual\.proj is \[2, 2\]; expected \[32, 16\]"):
        clip_from_state(ARCHITECTURE, state | {"visual.proj": torch.zeros(2, 2)}, quick_gelu=False)


def test_architectures_go_by_open_clip_s_names() -> None:
    assert known_architecture("ViT-B/16") == "ViT-B-16"
    assert known_architecture("ViT-B-16-quickgelu") == "ViT-B-16"
    with pytest.raises(OptionError, match="ViT-B-15"):
        known_architecture("ViT-B-15")


@pytest.mark.usefixtures("cache")
def test_a_tag_is_read_from_the_cache_with_its_own_activation(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        quick = clip_from_hub(ARCHITECTURE, "known")
        exact = clip_from_hub(f"{ARCHITECTURE}-quickgelu", "exact")

    assert (quick.quick_gelu, exact.quick_gelu) == (True, False)
    assert "pretrained tag known" in caplog.text
    assert "pretrained tag exact" in caplog.text
    assert torch.equal(quick.state["visual.proj"], small.state()["visual.proj"])


@pytest.mark.usefixtures("cache")
def test_without_the_hub_the_two_ways_are_named() -> None:
    with pytest.raises(
        WeightsError, match=r"hub can be reached, or bring .* `lexiseg models import .* clip=FILE or tower=FILE"
    ):
        clip_from_hub(ARCHITECTURE, "unknown")


@pytest.mark.parametrize("shape", [(1, 3, 33, 32), (1, 3, 32, 31), (1, 3, 0, 32), (3, 32, 32), (1, 1, 32, 32)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        tokens_before_last_block(small.visual(), torch.zeros(shape), "size")


def test_towers_whose_last_block_cannot_be_opened_are_refused() -> None:
    pooling = open_clip.transformer.VisionTransformer(32, 8, 32, 1, 2, 2.0, output_dim=16, attentional_pool=True)
    custom = open_clip.transformer.VisionTransformer(32, 8, 32, 1, 2, 2.0, output_dim=16, block_type="custom")

    with pytest.raises(WeightsError, match="pools otherwise"):
        require_plain_vit(pooling)
    with pytest.raises(WeightsError, match="plain attention blocks"):
        require_plain_vit(custom)
    with pytest.raises(WeightsError, match="Linear"):
        require_plain_vit(torch.nn.Linear(2, 2))


def test_pixels_are_normalised_as_by_open_clip() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 40, 56), np.uint8)
    mean, std = (
        np.array(each)[:, None, None] for each in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )

    found = normalise(torch.from_numpy(image), "clip")

    np.testing.assert_allclose(found.numpy(), (image / 255 - mean) / std, rtol=1e-6, atol=1e-6)
