"""TIPSv2 against transformers on random weights, from a folder and through the hub's cache."""

import logging
from logging.handlers import BufferingHandler
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch import Tensor

from benchmarks.released import hugging_face
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tipsv2.import_ import Options, read
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from tests.model.methods.tipsv2 import small

LAYER = "vision_encoder.norm.weight"
TEXTS = ["red", "a photo of many boats.", "an old wooden rowing boat"]


def assert_exact(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("own_values", [False, True])
@pytest.mark.parametrize("window", [small.SIDE, 98])
def test_patches_and_rows_are_those_of_transformers(window: int, own_values: bool) -> None:
    assert hugging_face.tipsv2(0, (window, window), own_values) <= 1e-5


def test_scores_are_cosines_of_patches_with_the_mean_of_a_class_in_its_templates() -> None:
    ours = small.segmenter()
    rgb = np.random.default_rng(0).integers(0, 256, (small.SIDE, small.SIDE, 3), np.uint8)
    features = ours.encode(rgb)
    classes = (ClassEntry("red"), ClassEntry("boat"))
    rows = torch.from_numpy(ours.encode_texts(ours.texts(classes)))

    scores = ours.class_scores(features, bank_of(ours, classes))

    vectors = F.normalize(F.normalize(rows.view(2, -1, small.WIDTH), dim=2).mean(1), dim=1)
    cosines = torch.einsum("td,dhw->thw", vectors, features.tensors["patches"][0])
    expected = F.interpolate(cosines[None], (small.SIDE, small.SIDE), mode="bilinear")[0]
    assert_exact(scores, expected)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that holds `google/tipsv2-b14` and `-l14` at the small size, and no hub behind it."""
    for name in ("tipsv2-b14", "tipsv2-l14"):
        repository = tmp_path / f"models--google--{name}"
        small.save(repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    entry = available()["tipsv2-b14"].model_copy(update={"card": {"embedding": small.WIDTH}, "memory_mb": 1})
    monkeypatch.setitem(available(), "tipsv2-b14", entry)
    return tmp_path


@pytest.mark.usefixtures("hub_cache")
def test_a_model_of_the_list_is_served_by_its_name_from_the_hubs_files() -> None:
    catalogue.require("tipsv2-b14")
    served = catalogue.load("tipsv2-b14", device="cpu")

    assert (served.card.name, served.card.embedding) == ("tipsv2-b14", small.WIDTH)
    np.testing.assert_array_equal(words_of(served).encode_texts(TEXTS), small.segmenter().encode_texts(TEXTS))


@pytest.mark.usefixtures("hub_cache")
def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"tipsv2-l14: the card says embedding 1024, its weights have 16"):
        catalogue.load("tipsv2-l14", device="cpu")


@pytest.mark.usefixtures("hub_cache")
def test_a_model_that_is_not_here_names_its_repository_and_the_import() -> None:
    with pytest.raises(WeightsError, match=r"google/tipsv2-g14 .*--method tipsv2 --help"):
        catalogue.require("tipsv2-g14")


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_is_no_checkpoint_is_refused(gone: str, tmp_path: Path) -> None:
    small.save(tmp_path / "hub")
    (tmp_path / "hub" / gone).unlink()

    with pytest.raises(WeightsError, match="hub"):
        importing.import_model(methods()["tipsv2"], "mine", Options(checkpoint=tmp_path / "hub"), tmp_path)
    assert not (tmp_path / "mine").exists()


def test_a_tokenizer_that_needs_sentencepiece_says_so(tmp_path: Path) -> None:
    small.save(tmp_path / "hub")
    (tmp_path / "hub" / "tokenizer.json").rename(tmp_path / "hub" / "tokenizer.model")

    with pytest.raises(WeightsError, match="pip install sentencepiece"):
        read(Options(checkpoint=tmp_path / "hub"))


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({}, "1 weights are missing, such as vision_model"),
        ({LAYER: torch.zeros(3)}, r"1 weights are of another size, such as vision_model.*: \[3\], .* says \[16\]"),
    ],
    ids=["missing", "of another size"],
)
def test_weights_of_another_network_are_refused(kept: dict[str, torch.Tensor], says: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    small.save(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    del state[LAYER]
    save_file(state | kept, file, {"format": "pt"})
    theirs, reports = logging.getLogger("transformers"), BufferingHandler(100)
    theirs.addHandler(reports)

    with pytest.raises(WeightsError, match=says):
        importing.import_model(methods()["tipsv2"], "mine", Options(checkpoint=tmp_path), tmp_path)
    theirs.removeHandler(reports)
    assert reports.buffer == []  # the error says it in a sentence
