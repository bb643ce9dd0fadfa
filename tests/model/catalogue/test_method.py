"""Methods are found where they lie: a folder of ours, or somebody's package that names itself by an entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lexiseg_model import catalogue
from lexiseg_model.catalogue.importing import importable
from lexiseg_model.catalogue.method import OWN, methods
from lexiseg_model.errors import OptionError, WeightsError
from tests.model.imports import imported
from tests.model.stand_in import ColourSegmenter, card

SEGMENTER = """
from tests.model.stand_in import ColourSegmenter


def load(folder, card, execution):
    segmenter = ColourSegmenter()
    segmenter.card = card
    return segmenter


def require_weights(card):
    pass
"""
IMPORT = """
from pathlib import Path

import torch
from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, own_card


class Options(ImportOptions):
    palette: Path = Field(description="a file of colours")


def read(options):
    colours = torch.tensor([float(value) for value in options.palette.read_text().split()])
    return Imported(own_card("acme").model_copy(update={"lineage": "Imported."}), {"colours": colours})
"""


def install(site: Path, package: str = "acme_seg", named: str = "acme_seg") -> None:
    """What `pip install` of somebody's method leaves behind."""
    folder = site / package
    (folder / "bundled").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "segmenter.py").write_text(SEGMENTER)
    (folder / "import_.py").write_text(IMPORT)
    own = card(name="acme").model_copy(update={"method": "acme", "weights_sha256": None})
    (folder / "bundled" / "card.yaml").write_text(yaml.safe_dump(own.model_dump(mode="json")))
    info = site / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lexiseg.methods]\nacme = {named}\n")


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_seg"]:
        del sys.modules[name]  # the next one lies elsewhere


def test_every_folder_of_ours_is_a_method() -> None:
    folders = {path.name for path in OWN.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders <= methods().keys()
    assert {"dense_clip", "s_seg", "tcl", "tiny", "unpair_seg"} <= folders


def test_all_that_others_may_have_trained_are_imported_from_files() -> None:
    trained_here_alone = {"tiny", "s-seg-plus"}
    assert set(importable()) == {method.model_name for method in methods().values()} - trained_here_alone


@pytest.mark.usefixtures("acme")
def test_a_package_that_names_itself_is_a_method_with_a_model_of_its_own() -> None:
    assert "acme" in catalogue.bundled()
    assert catalogue.require("acme").card.method == "acme"
    assert isinstance(catalogue.load("acme", device="cpu"), ColourSegmenter)


@pytest.mark.usefixtures("acme")
def test_files_of_a_named_method_are_imported_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "palette.txt").write_text("1 0 0")

    imported("acme", "mine", tmp_path / "models", palette=tmp_path / "palette.txt")

    segmenter = catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")
    assert isinstance(segmenter, ColourSegmenter)
    assert (segmenter.card.name, segmenter.card.lineage) == ("mine", "Imported.")
    with pytest.raises(OptionError, match="--method acme needs --palette, a file of colours"):
        imported("acme", "other", tmp_path / "models")


def test_a_named_package_that_is_not_there_takes_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", named="gone.away")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    own = card(name="mine").model_copy(update={"method": "acme"})
    (folder / catalogue.CARD).write_text(yaml.safe_dump(own.model_dump(mode="json")))

    assert "tiny" in catalogue.bundled()
    assert "acme" not in catalogue.bundled()
    assert "acme" not in importable()
    with pytest.raises(WeightsError, match=r"method acme: there is no module gone\.away\.segmenter"):
        catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")


def test_a_method_of_ours_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", named="acme_seg")
    points = tmp_path / "site" / "acme_seg-1.dist-info" / "entry_points.txt"
    points.write_text("[lexiseg.methods]\ntiny = acme_seg\n")
    monkeypatch.syspath_prepend(tmp_path / "site")

    assert methods()["tiny"].package == "lexiseg_model.methods.tiny"
