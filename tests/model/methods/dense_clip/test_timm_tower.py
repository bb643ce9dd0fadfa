"""SigLIP 2's and MobileCLIP's towers against open_clip's own, on random weights."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.clip.images import Normalisation, normalise
from lexiseg_model.clip.towers import ClipTowers, fresh_model, from_state
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip.import_ import Options, read
from lexiseg_model.methods.dense_clip.network import TimmTower
from lexiseg_model.methods.dense_clip.patches import DenseClipSegmenter
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts
from lexiseg_model.resources.device import Execution
from lexiseg_model.testing.questions import bank_of
from lexiseg_model.types import ClassEntry

SIGLIP, MOBILE, WITH_CLASS_TOKEN = "vit_base_patch16_siglip_224", "fastvit_mci0", "vit_tiny_patch16_224"
NORMALISATION: dict[str, Normalisation] = {SIGLIP: "half", MOBILE: "unit"}


def visual(trunk: str, side: int) -> TimmModel:
    torch.manual_seed(0)
    pool, head = {SIGLIP: ("map", "none"), MOBILE: ("avg", None), WITH_CLASS_TOKEN: ("token", None)}[trunk]
    tower = TimmModel(trunk, 24 if trunk != SIGLIP else 768, side, pool, head, pretrained=False).eval()
    for weight in tower.parameters():
        torch.nn.init.normal_(weight, std=0.03)
    if trunk != MOBILE:
        tower.trunk.set_input_size((side, side))  # timm's own way to another size
    return tower


def pixels(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, height, width), np.uint8))


@pytest.mark.parametrize(("trunk", "cell"), [(SIGLIP, 16), (MOBILE, 32)])
@torch.inference_mode()
def test_a_picture_of_one_patch_has_the_vector_of_open_clip(trunk: str, cell: int) -> None:
    tile = pixels(cell, cell)
    theirs = F.normalize(visual(trunk, cell)(normalise(tile, NORMALISATION[trunk])))

    (ours,) = TimmTower(visual(trunk, 224), NORMALISATION[trunk])(tile)

    torch.testing.assert_close(ours[:, :, 0, 0], theirs, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_patch_of_siglip_is_its_value_through_the_head() -> None:
    tower, tile = visual(SIGLIP, 48), pixels(48, 48)
    tokens = tower.trunk.forward_features(normalise(tile, "half"))
    pool = tower.trunk.attn_pool
    values = pool.proj(pool.kv(tokens)[..., 768:])
    expected = F.normalize(values + pool.mlp(pool.norm(values)), dim=2)

    (ours,) = TimmTower(tower, "half")(tile)

    torch.testing.assert_close(ours.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("trunk", "cell"), [(SIGLIP, 16), (MOBILE, 32)])
@torch.inference_mode()
def test_tiles_of_other_sizes_are_padded_to_whole_patches(trunk: str, cell: int) -> None:
    (ours,) = TimmTower(visual(trunk, 64), NORMALISATION[trunk])(pixels(2 * cell - 3, 3 * cell - 1))

    assert ours.shape[2:] == (2, 3)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(1, 2, 3))


def test_a_tower_with_a_class_token_is_refused() -> None:
    with pytest.raises(WeightsError, match="this has a class token"):
        TimmTower(visual(WITH_CLASS_TOKEN, 32), "unit")


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MobileCLIP's parts at a small size, under a name of their own."""
    name = "lexiseg-small-mobile"
    path: Path = tmp_path_factory.mktemp("architecture") / f"{name}.json"
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2, "no_causal_mask": True}
    image = {"timm_model_name": MOBILE, "timm_pool": "avg", "timm_proj": None, "timm_model_pretrained": False}
    config = {"embed_dim": 16, "vision_cfg": image | {"image_size": 64}, "text_cfg": text, "custom_text": True}
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return name


def segmenter(architecture: str, policy: str) -> DenseClipSegmenter:
    torch.manual_seed(0)
    state = fresh_model(architecture, quick_gelu=False).state_dict()
    towers: ClipTowers = from_state(architecture, state, quick_gelu=False)
    settings = DenseClipSettings.model_validate(
        {"policy": policy, "architecture": architecture, "normalisation": "unit", "window": 64, "stride": 32}
    )
    card = catalogue.find("mobileclip2-s2").card
    small = card.input.model_copy(update={"short_side": 64})  # two windows of a picture, not hundreds
    card = card.model_copy(update={"settings": settings.model_dump(), "embedding": 16, "input": small})
    return DenseClipSegmenter(Parts(towers, None, "small"), settings, card, Execution(torch.device("cpu"), "exact"))


def test_words_are_scored_on_every_pixel_by_a_mobile_tower(architecture: str) -> None:
    model = segmenter(architecture, "maskclip")
    rgb: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    classes = (ClassEntry("cat"), ClassEntry("dog"))

    bank = bank_of(model, classes)
    scores = model.class_scores(model.encode(rgb), bank)

    assert scores.shape[0] == 2
    assert scores.abs().max() <= 1


def test_an_imported_mobile_tower_has_the_settings_and_terms_of_the_list(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = available()["mobileclip2-s2"]
    card = entry.card | {"settings": entry.card["settings"] | {"architecture": architecture}, "embedding": 16}
    monkeypatch.setitem(available(), entry.name, entry.model_copy(update={"card": card}))
    save_file(fresh_model(architecture, quick_gelu=False).state_dict(), tmp_path / "mobile.safetensors")
    options = {"clip": (tmp_path / "mobile.safetensors",), "architecture": architecture}

    read_card = read(Options(**options, policy="maskclip")).card

    settings = DenseClipSettings.model_validate(read_card.settings)
    assert (settings.normalisation, settings.window, settings.quick_gelu) == ("unit", 512, False)
    assert (read_card.input.multiple, read_card.commercial_use) == (32, "no")
    with pytest.raises(WeightsError, match=f"mobile.safetensors: {architecture} knows the policy maskclip alone"):
        read(Options(**options))


def test_another_policy_than_maskclip_is_refused(architecture: str) -> None:
    with pytest.raises(WeightsError, match="knows the policy maskclip alone; got naclip"):
        segmenter(architecture, "naclip")
