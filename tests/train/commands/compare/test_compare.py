"""`lexiseg compare`: figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from lexiseg_service.cli import app
from tests import pictures
from tests.model.catalogue.test_models import copy_of_tiny, replace_weights

CLASSES = ("-c", "sky", "-c", "building", "-c", "tree")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a model: of the second some weights are a little off."""
    folder = tmp_path_factory.mktemp("models")
    copy_of_tiny(folder, "cats@1")
    other = copy_of_tiny(folder, "cats@2")
    weights = load_file(other / "tiny.safetensors")
    random = np.random.default_rng(0)
    for name, values in weights.items():
        if values.dtype.kind == "f" and values.ndim == 4:
            weights[name] = (values * (1 + 0.15 * random.standard_normal(values.shape))).astype(values.dtype)
    replace_weights(other, save(weights))
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("china", "flower", "coffee"):
        pictures.small(name, 120).save(folder / f"{name} <b>.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def compare(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        app(["compare", *map(str, words), *CLASSES, "--runtime", "torch"])  # `auto` would first export the models
    return int(end.value.code or 0)


def figures_of(models: Path, photographs: Path, out: Path, *words: object, status: int = 0) -> dict[str, Any]:
    assert compare(*words, photographs, "--models-dir", models, "--json", out) == status
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


def test_the_figures_begin_with_the_photograph_of_least_agreement(
    models: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = figures_of(models, photographs, tmp_path / "figures.json", "cats@1", "cats@2")

    shares = [each["agreement"] for each in figures["photographs"]]
    assert [figures[side]["version"] for side in "ab"] == ["1", "2"]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    assert all(bool(each["swaps"]) == (each["agreement"] < 1) for each in figures["photographs"])
    assert list(figures["unread"]) == [str(photographs / "broken.jpg")]
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert f"{figures['agreement']:.2%} of the pixels of 3 photographs" in lines[0]
    assert [each["photograph"] in line for each, line in zip(figures["photographs"], lines[-3:], strict=True)] == [
        True
    ] * 3
    assert "broken.jpg" in printed.err


def test_a_model_agrees_with_itself(models: Path, photographs: Path, tmp_path: Path) -> None:
    figures = figures_of(models, photographs, tmp_path / "figures.json", "cats@1", models / "cats@1", "--least", 1)

    assert figures["agreement"] == 1
    assert set(figures["iou"].values()) <= {1.0, None}


def test_a_photograph_is_seen_as_the_service_sees_it_and_little_agreement_fails(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    (folder / "a.heic").write_bytes(pictures.heic(pictures.small("china", 64)))
    (folder / "b.jpg").write_bytes(pictures.turned(pictures.small("china", 64), 6, "JPEG"))

    report = tmp_path / "figures" / "phone.json"
    figures = figures_of(models, folder, report, "cats@1", "cats@2", "--least", 1, status=1)

    assert figures["unread"] == {}
    assert len(figures["photographs"]) == 2
