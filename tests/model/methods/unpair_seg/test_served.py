"""From a checkpoint in the authors' layout to answers by the engine and the command line."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.models import CARD
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg import import_
from lexiseg_model.methods.unpair_seg.network import CLIP, PromptableMasks, flat_state, read_weights, restore
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter
from lexiseg_model.types import ClassEntry, Point, Prompt, Vocabulary
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from tests import pictures
from tests.golden import golden_weights
from tests.model.imports import imported
from tests.model.methods.unpair_seg import golden, small
from tests.waiting import SOON

CARD_LIMITS = catalogue.read_card(catalogue.bundled()["unpair-seg"]).limits


def imported_small(models_dir: Path, name: str = "mine", **files: Any) -> Path:
    return imported("unpair-seg", name, models_dir, architecture=small.ARCHITECTURE, **files)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `mine`, imported from a file that holds CLIP's towers, for small images and a lenient grid."""
    small.register()
    folder = tmp_path_factory.mktemp("unpair-seg")
    torch.save({"model": small.state(), "iteration": 7}, folder / "stage1.pth")
    made = imported_small(folder / "models", checkpoint=folder / "stage1.pth")
    card = yaml.safe_load((made / CARD).read_text())
    card["input"] |= {"short_side": 128, "long_side": 128}
    card["settings"] |= small.LENIENT
    card["panoptic"] |= {"score": 0.0, "overlap": 0.0}
    (made / CARD).write_text(yaml.safe_dump(card))
    return folder / "models"


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


def test_a_wrong_shape_is_reported_with_its_file(tmp_path: Path) -> None:
    name = "sem_seg_head.predictor.mask_embed.0.layers.0.weight"
    torch.save(small.state() | {name: torch.zeros(3, 64)}, tmp_path / "stage1.pth")

    with pytest.raises(WeightsError, match=rf"stage1.pth: not the .* {re.escape(name)} is \[3, 64\]; expected"):
        imported_small(tmp_path / "models", checkpoint=tmp_path / "stage1.pth")


def test_the_engine_serves_every_task_from_one_image_pass(models_dir: Path) -> None:
    segmenter = catalogue.load("mine", models_dir=models_dir, device="cpu", precision="fast")
    engine = Engine(segmenter, Settings(), Metrics())
    image = pictures.encoded(pictures.small("flower", 120))
    words, click = Vocabulary((ClassEntry("flower"), ClassEntry("leaf")), None), Prompt(points=(Point(60, 40),))
    nothing = Vocabulary((), None)
    try:
        first = engine.submit(WorkerRequest(image, words, "mine")).result(SOON)
        again = partial(WorkerRequest, None, model="mine", image_id=first.image_id)
        panoptic = engine.submit(again(vocabulary=words, task="panoptic")).result(SOON)
        prompted = engine.submit(again(vocabulary=nothing, task="prompt", prompts=(click,))).result(SOON)
    finally:
        engine.close(SOON)

    assert sum(segment.area for segment in first.segments) == first.size[0] * first.size[1]
    assert panoptic.cache.features
    assert prompted.cache.features
    assert [segment.mask_index for segment in prompted.segments] == [0, 1, 2, 3]
    assert all(segment.label is None for segment in prompted.segments)


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
