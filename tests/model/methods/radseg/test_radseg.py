"""RADSeg against its formulas and transformers on random weights, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.radseg.import_ import Options, read, read_radio, read_texts_repository
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.questions import bank_of
from lexiseg_model.types import ClassEntry
from tests.golden import radseg as golden
from tests.model.methods.radseg import small

SIZE = (64, 96)  # that of the canvas: nothing is resized


@pytest.mark.parametrize("seed", [1, 2])
def test_probabilities_are_those_of_the_formulas(seed: int) -> None:
    ours = small.segmenter()
    rgb = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
    classes = tuple(map(ClassEntry, ("red", "boat", "an old house", "sky")))
    bank = bank_of(ours, classes)

    scores = ours.class_scores(ours.encode(rgb), bank)

    state = {name: value.double().numpy() for name, value in small.official_state().items()}
    picture, texts = rgb.astype(np.float64) / 255, bank.vectors.double().numpy()
    expected = golden.probabilities(
        state, small.HEAD, picture, texts, small.HEADS, small.WINDOW, small.STRIDE, SIZE
    ).transpose(2, 0, 1)
    assert (expected.max((1, 2)) > 0).sum() > 0
    assert np.abs((scores * ours.probability_scale).exp().numpy() - expected).max() < 1e-4


def test_rows_are_those_of_transformers() -> None:
    from transformers import AutoTokenizer, SiglipTextModel

    folder = small.imported().parent / "texts"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), SiglipTextModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        options = {"padding": "max_length", "padding_side": "right", "truncation": True, "max_length": 64}
        tokens = tokenizer(["red", "a photo of many boats"], **options, return_tensors="pt")
        theirs = model(input_ids=tokens["input_ids"]).pooler_output

    ours = small.segmenter().encode_texts(["Red", "a photo of_many BOATS."])

    torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-5, rtol=1e-5)


def test_a_weight_that_is_kept_as_direction_and_norm_is_multiplied_out(tmp_path: Path) -> None:
    state = small.official_state()
    weight = state[f"{small.HEAD}.fc1.weight"]
    u, s, v = torch.linalg.svd(weight)
    spectral = {"_u": u[:, 0], "_v": v[0], "scale": torch.tensor([[0.3]]), "_sn_version": torch.tensor(2)}
    name = f"{small.HEAD}.fc1.parametrizations.weight"
    del state[f"{small.HEAD}.fc1.weight"]
    state |= {f"{name}.original": weight} | {f"{name}.0.{key}": value for key, value in spectral.items()}
    small.save_radio(tmp_path / "radio.pth.tar", state)

    made = read_radio(tmp_path / "radio.pth.tar").head["fc1.weight"]

    expected = weight * (F.softplus(torch.tensor(0.3)) + 0.05) / s[0]
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in small.official_state().items() if key != name}


def changed(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return small.official_state() | {name: torch.ones(shape)}


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (b"no archive", "radio.pth.tar is not a torch file"),
        ({"state_dict": {}}, "not a checkpoint of C-RADIO's authors"),
        ((small.official_state(), {"name": "clip", "type": "open_clip"}), "its teachers are clip; expected"),
        ((small.official_state(), {}), "it has no type; expected their .pth.tar"),
        (({f"{small.HEAD}.a": torch.ones(1)},), "has no base_model.patch_generator"),
        ((without("base_model.blocks.1.attn.qkv.weight"),), "weights are missing, such as encoder.layer.1"),
        ((without(f"{small.HEAD}.fc1.weight"),), "not the weights of RADSeg's head: missing .*fc1.weight"),
        ((without(f"{small.HEAD}.blocks.0.2.weight"),), "not the weights of RADSeg's head: missing blocks.0.2.weight"),
        ((changed("base_model.patch_generator.embedder.weight", (5,)),), r"patches \[5\] and .*; expected \[width, "),
        ((changed("base_model.blocks.1.norm1.weight", (7,)),), r"such as .* \[7\], and the others need"),
        ((changed("base_model.more", (7,)),), "1 weights are unknown"),
    ],
    ids=[
        "no archive", "no arguments", "no SigLIP 2", "a teacher without type", "no backbone", "half a block",
        "no head", "half a head", "odd patches", "another size", "more",
    ],
)  # fmt: skip
def test_another_file_is_refused(saved: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "radio.pth.tar"
    if isinstance(saved, bytes):
        path.write_bytes(saved)
    elif isinstance(saved, tuple):
        small.save_radio(path, *saved)
    else:
        torch.save(saved, path)

    with pytest.raises(WeightsError, match=message):
        read_radio(path)


@pytest.mark.parametrize(
    ("teacher", "texts"),
    [
        ({"name": "siglip2"}, "google/siglip2-so400m-patch16-naflex"),
        ({"name": "siglip2-g"}, "google/siglip2-giant-opt-patch16-384"),
        ({"name": "siglip2", "model": "siglip2-g-384"}, "google/siglip2-giant-opt-patch16-384"),
        ({"name": "siglip2-g", "model": "siglip2-so400m"}, "google/siglip2-so400m-patch16-naflex"),
    ],
)
def test_the_text_tower_is_the_one_that_the_file_names(teacher: dict[str, str], texts: str, tmp_path: Path) -> None:
    small.save_radio(tmp_path / "radio.pth.tar", {}, {"type": "siglip2", **teacher})

    assert read_texts_repository(tmp_path / "radio.pth.tar") == texts


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "radio.pth.tar"
    small.save_radio(path, small.official_state())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(WeightsError, match=r"radio\.pth\.tar is not a torch file of plain tensors: damaged, cut short"):
        read_radio(path)


@pytest.mark.parametrize(
    ("name", "keep", "says"),
    [
        ("model.safetensors", 0.5, "cannot read a folder of siglip as RADSeg"),
        ("model.safetensors", 0, "no file named model.safetensors"),
        ("config.json", 0.5, "config.json' is not a valid JSON file"),
        ("config.json", 0, "has no config.json; expected a folder of RADSeg"),
        ("tokenizer.json", 0.5, "cannot read a folder of siglip as RADSeg"),
        ("tokenizer.json", 0, "expected the tokenizer of SigLIP 2"),
    ],
)
def test_a_folder_of_texts_with_half_a_file_or_without_it_is_refused(
    name: str, keep: float, says: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(small.imported().parent / "texts", tmp_path / "texts")
    content = (folder / name).read_bytes()
    if keep:
        (folder / name).write_bytes(content[: int(len(content) * keep)])
    else:
        (folder / name).unlink()

    with pytest.raises(WeightsError, match=says) as caught:
        read(Options(checkpoint=small.imported().parent / "radio.pth.tar", texts=folder))

    assert str(folder) in str(caught.value)


def test_texts_of_another_width_are_refused(tmp_path: Path) -> None:
    small.save_texts(tmp_path, width=64)

    with pytest.raises(WeightsError, match=r"has width 32, the texts of .* 64; expected google/siglip2-so400m"):
        read(Options(checkpoint=small.imported().parent / "radio.pth.tar", texts=tmp_path))


def test_a_model_of_the_list_is_served_from_the_files_of_two_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = "google/siglip2-so400m-patch16-naflex"
    for repository in ("nvidia/C-RADIOv3-B", texts):
        place = tmp_path / f"models--{repository.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("abc")
        (place / "snapshots" / "abc").mkdir(parents=True)
        if repository == texts:
            small.save_texts(place / "snapshots" / "abc")
        else:
            small.save_radio(place / "snapshots" / "abc" / "c-radio_v3-b_half.pth.tar", small.official_state())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    changes = {"card": {"embedding": small.TEXT_WIDTH}, "memory_mb": 1}
    monkeypatch.setitem(available(), "radseg-b", available()["radseg-b"].model_copy(update=changes))

    served = catalogue.load("radseg-b", device="cpu")

    assert (served.card.name, served.card.commercial_use) == ("radseg-b", "ask")
    np.testing.assert_array_equal(words_of(served).encode_texts(["red"]), small.segmenter().encode_texts(["red"]))
