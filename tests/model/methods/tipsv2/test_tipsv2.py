"""TIPSv2 on random weights: against transformers, from a folder and through the hub's cache; TIPS's own archives."""

import logging
from collections.abc import Callable
from logging.handlers import BufferingHandler
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from numpy.typing import NDArray

from benchmarks.released import hugging_face
from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.tipsv2.import_ import Options, read
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from tests.model.methods.tipsv2 import released, small

LAYER = "vision_encoder.norm.weight"
TEXTS = ["red", "a photo of many boats.", "an old wooden rowing boat"]


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
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize(("gone", "says"), [("model.safetensors", "hub"), ("tokenizer.json", "has none of tokenizer")])
def test_a_folder_that_is_no_checkpoint_is_refused(gone: str, says: str, tmp_path: Path) -> None:
    small.save(tmp_path / "hub")
    (tmp_path / "hub" / gone).unlink()

    with pytest.raises(WeightsError, match=says):
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


SENTENCES = ["red", "a photo of many boats.", "An old wooden rowing boat"]
VISION = "tips_oss_s14_highres_distilled_vision.npz"


def imported(folder: Path) -> Path:
    return importing.import_model(methods()["tipsv2"], "tips-s14", Options(checkpoint=folder), folder / "models")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_patches_and_rows_are_those_of_the_released_code(seed: int, tmp_path: Path) -> None:
    images, texts = ({name: value.double() for name, value in state.items()} for state in released.save(tmp_path, seed))
    folder = imported(tmp_path)
    side = 56 if seed == 1 else 98  # positions as they are, and resized
    card = catalogue.read_card(folder)
    card = card.model_copy(
        update={
            "input": InputSize(short_side=side, long_side=160, multiple=14),
            "settings": {**card.settings, "window": side, "stride": side},
        }
    )
    ours = catalogue.load_folder(folder, "cpu", "exact", card)
    rgb = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)

    features: Features = ours.encode(rgb)
    rows = words_of(ours).encode_texts(SENTENCES)

    ids = small.tokenizer()(SENTENCES)["input_ids"]
    torch.testing.assert_close(
        features.tensors["patches"][0].double(), released.patches(images, rgb), atol=1e-4, rtol=1e-4
    )
    expected = torch.stack([released.row(texts, each) for each in ids])
    torch.testing.assert_close(torch.from_numpy(rows).double(), expected, atol=1e-4, rtol=1e-4)


def test_the_card_has_the_terms_of_these_files(tmp_path: Path) -> None:
    released.save(tmp_path)

    card = catalogue.read_card(imported(tmp_path))

    assert (card.embedding, card.commercial_use) == (released.WIDTH, "ask")
    assert "CC BY 4.0" in card.licence
    assert VISION in card.lineage


def test_what_is_on_no_hub_names_the_import() -> None:
    with pytest.raises(WeightsError, match=r"tips-s14 is on no hub.*models import --method tipsv2"):
        catalogue.require("tips-s14")
    assert available()["tips-s14"].hub is None


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(name: str, array: NDArray[np.float32] | None) -> Callable[[Path], None]:
    """A change of an archive: another array of a name; None: it has none."""

    def change(file: Path) -> None:
        with np.load(file) as archive:
            arrays = dict(archive) | {name: array}
        np.savez(file, **{key: value for key, value in arrays.items() if value is not None})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut, "vision.npz is damaged, cut short"),
        (changed("norm.weight", None), "no array 'norm.weight'; expected TIPS S, B or L"),
        *(
            (changed("norm.weight", np.ones(width, np.float32)), f"a width of {width}; expected 384, 768, 1024")
            for width in (0, 400)
        ),
        (changed("pos_embed", np.ones((1, 0, 384), np.float32)), "vision.npz: pos_embed of 0 positions; expected"),
        (
            changed("blocks.1.attn.proj.bias", np.ones(7, np.float32)),
            r"_vision.npz, .*_text.npz: weights of another TIPS",
        ),
        (Path.unlink, r"has no \*_vision.npz"),
        (lambda file: (file.parent / "2_vision.npz").write_bytes(b""), r"has 2 files \*_vision.npz"),
        (lambda file: (file.parent / "tokenizer.json").unlink(), "has none of tokenizer.json, tokenizer.model"),
    ],
)
def test_a_folder_that_is_no_release_is_refused(change: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    released.save(tmp_path)
    change(tmp_path / VISION)

    with pytest.raises(WeightsError, match=says):
        imported(tmp_path)
