"""`lexiseg compare`: figures and an HTML page."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save

from lexiseg_service.cli import app
from tests import pictures
from tests.model.catalogue.test_models import copy_of_tiny, replace_weights

JPEG = re.compile('src="data:image/jpeg;base64,([^"]*)"')
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


def test_two_models_differ_most_where_the_report_begins(models: Path, photographs: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "report.html", tmp_path / "figures.json"

    status = compare("cats@1", "cats@2", photographs, "--models-dir", models, "--out", out, "--json", figures)

    told: dict[str, Any] = json.loads(figures.read_text())
    shares = [each["agreement"] for each in told["photographs"]]
    page = out.read_text()
    assert status == 0
    assert [told[side]["version"] for side in "ab"] == ["1", "2"]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    assert all(bool(each["swaps"]) == (each["agreement"] < 1) for each in told["photographs"])
    assert list(told["unread"]) == [str(photographs / "broken.jpg")]
    assert page.index(Path(told["photographs"][0]["photograph"]).name.split()[0]) < page.index(
        Path(told["photographs"][-1]["photograph"]).name.split()[0]
    )
    assert page.count("<img") == 4 * len(shares)
    assert "<b>" not in page
    assert "http" not in page  # it needs nothing from elsewhere


def test_a_model_agrees_with_itself(models: Path, photographs: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"

    status = compare(
        *("cats@1", models / "cats@1", photographs, "--models-dir", models, "--out", tmp_path / "report.html"),
        *("--json", figures, "--shown", 1, "--least", 1),
    )

    told = json.loads(figures.read_text())
    assert status == 0
    assert told["agreement"] == 1
    assert set(told["iou"].values()) <= {1.0, None}
    assert (tmp_path / "report.html").read_text().count("<section>") == 2


def test_too_little_agreement_fails(models: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"

    assert compare("cats@1", "cats@2", photographs, "--models-dir", models, "--out", out, "--least", 1) == 1


def test_a_photograph_is_seen_as_the_service_sees_it(models: Path, tmp_path: Path) -> None:
    folder, figures = tmp_path / "phone", tmp_path / "figures" / "phone.json"
    folder.mkdir()
    (folder / "a.heic").write_bytes(pictures.heic(pictures.small("china", 64)))
    (folder / "b.jpg").write_bytes(pictures.turned(pictures.small("china", 64), 6, "JPEG"))
    width, height = pictures.small("china", 64).size

    compare("cats@1", "cats@2", folder, "--models-dir", models, "--out", tmp_path / "page.html", "--json", figures)

    told = json.loads(figures.read_text())
    page = (tmp_path / "page.html").read_text()
    sizes = [Image.open(io.BytesIO(base64.b64decode(each))).size for each in JPEG.findall(page)]
    assert told["unread"] == {}
    assert set(sizes) == {(width, height), (height, width)}
