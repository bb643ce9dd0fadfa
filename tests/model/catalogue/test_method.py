"""Methods are found by folder, and by the entry points of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lexiseg_model import catalogue
from lexiseg_model.catalogue.importing import importable
from lexiseg_model.catalogue.method import OWN, methods
from lexiseg_model.errors import OptionError, WeightsError
from tests.model.acme import installed
from tests.model.imports import imported
from tests.model.stand_in import ColourSegmenter, card


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[None]:
    with installed(tmp_path / "site"):
        yield


def test_every_folder_of_ours_is_a_method() -> None:
    folders = {path.name for path in OWN.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders <= methods().keys()
    assert {"dense_clip", "s_seg", "tcl", "tiny", "unpair_seg"} <= folders


def test_every_method_with_published_weights_has_an_importer() -> None:
    trained_here_alone = {"tiny", "s-seg-plus"}
    assert set(importable()) == {method.model_name for method in methods().values()} - trained_here_alone


@pytest.mark.usefixtures("acme")
def test_a_package_with_an_entry_point_is_a_method_with_a_bundled_model() -> None:
    assert "acme" in catalogue.bundled()
    assert catalogue.require("acme").card.method == "acme"
    assert isinstance(catalogue.load("acme", device="cpu"), ColourSegmenter)


@pytest.mark.usefixtures("acme")
def test_a_third_party_method_imports_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "palette.txt").write_text("1 0 0")

    imported("acme", "mine", tmp_path / "models", palette=tmp_path / "palette.txt")

    segmenter = catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")
    assert isinstance(segmenter, ColourSegmenter)
    assert (segmenter.card.name, segmenter.card.lineage) == ("mine", "Imported.")
    with pytest.raises(OptionError, match="--method acme needs --palette, a file of colours"):
        imported("acme", "other", tmp_path / "models")


def test_an_entry_point_without_its_package_takes_nothing_else_away(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    own = card(name="mine").model_copy(update={"method": "acme"})
    (folder / catalogue.CARD).write_text(yaml.safe_dump(own.model_dump(mode="json")))

    with installed(tmp_path / "site", package="gone.away"):
        assert "tiny" in catalogue.bundled()
        assert "acme" not in catalogue.bundled()
        assert "acme" not in importable()
        with pytest.raises(WeightsError, match=r"method acme: there is no module gone\.away\.segmenter"):
            catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")


def test_an_entry_point_replaces_no_method_of_ours(tmp_path: Path) -> None:
    with installed(tmp_path / "site", method="tiny"):
        assert methods()["tiny"].package == "lexiseg_model.methods.tiny"
