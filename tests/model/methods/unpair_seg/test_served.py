"""From a checkpoint in the authors' layout to a model directory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg import import_
from lexiseg_model.methods.unpair_seg.network import CLIP, read_weights, restore
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter
from tests.model.imports import imported
from tests.model.methods.unpair_seg import golden, small

CARD_LIMITS = catalogue.read_card(catalogue.bundled()["unpair-seg"]).limits


def imported_small(models_dir: Path, name: str = "mine", **files: Any) -> Path:
    return imported("unpair-seg", name, models_dir, architecture=small.ARCHITECTURE, **files)


def test_the_adapter_of_a_training_is_served(tmp_path: Path) -> None:
    torch.save(small.state(adapted=True), tmp_path / "stage2.pth")

    imported_small(tmp_path / "models", checkpoint=tmp_path / "stage2.pth")

    segmenter = catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")
    assert isinstance(segmenter, UnpairSegSegmenter)
    assert segmenter.network.adapter is not None
    assert CARD_LIMITS[0].startswith("The authors released stage one alone; without an adapter")
    assert segmenter.card.limits == CARD_LIMITS[1:]


@pytest.mark.parametrize(
    ("adapted", "published_layers", "licence"),
    [
        (False, 3, "The authors' stage-one weights"),
        (True, 3, "that of the imported weights"),
        (False, 9, "that of the imported weights"),
    ],
)
def test_only_the_authors_checkpoint_gets_the_authors_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapted: bool, published_layers: int, licence: str
) -> None:
    # As if the small network were the published one.
    sizes = restore(small.state(), small.ARCHITECTURE).network.masks.sizes
    monkeypatch.setattr(import_, "PUBLISHED", sizes._replace(decoder_layers=published_layers))
    monkeypatch.setattr(import_, "ARCHITECTURE", small.ARCHITECTURE)
    torch.save(small.state(adapted=adapted), tmp_path / "stage1.pth")

    made = imported_small(tmp_path / "models", checkpoint=tmp_path / "stage1.pth")

    card = catalogue.read_card(made)
    assert licence in card.licence
    assert any("SA-1B" in each for each in card.training_data) == (licence != "that of the imported weights")
    assert card.limits == CARD_LIMITS[adapted:]


TOWERS = {"visual.trunk.stem.0.weight": torch.ones(2, 3), "logit_scale": torch.zeros(())}


def whole() -> dict[str, torch.Tensor]:
    """The authors' stage one with something in place of CLIP's towers."""
    return golden.official() | {CLIP + name: value for name, value in TOWERS.items()}


def test_weights_without_clip_say_which_one_belongs_to_them(tmp_path: Path) -> None:
    torch.save(golden.official(), tmp_path / "stage1.pth")

    with pytest.raises(WeightsError, match=r"towers have to be given with them: .* convnext_large_d_320"):
        read_weights(tmp_path / "stage1.pth")


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
