"""Official checkpoints become model directories that load by name."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.importing import importable
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import OptionError, WeightsError
from tests.model.acme import installed
from tests.model.imports import imported
from tests.model.methods.s_seg.small import SMALL, small_network
from tests.model.stand_in import ColourSegmenter, card

WINDOWS = SMALL.model_dump(mode="json") | {"window": 64, "stride": 32}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_imported(value: float, tmp_path: Path) -> None:
    state = small_network().state_dict()
    state["text_projector.second.bias"][3] = value
    torch.save(state, tmp_path / "last.pt")

    with pytest.raises(WeightsError, match=r"for mine: text_projector\.second\.bias has values that are not finite"):
        imported("s-seg", "mine", tmp_path / "models", checkpoint=tmp_path / "last.pt", backbone="test_resnet")

    assert not (tmp_path / "models").exists()


@pytest.fixture(scope="module")
def s_seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as it is imported. Shared: never write into it."""
    folder = tmp_path_factory.mktemp("s-seg")
    torch.save(small_network().state_dict(), folder / "last.pt")
    return imported("s-seg", "mine", folder / "models", checkpoint=folder / "last.pt", backbone="test_resnet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"stride": 3}}, "settings are not those of s_seg"),
        ({"settings": WINDOWS}, r"settings\.window 64 and panoptic\.source proposals for tasks instance, panoptic"),
        ({"embedding": 512}, "says embedding 512, its settings 16"),
        ({"input": {"short_side": 64, "long_side": 128, "multiple": 16}}, "multiple is 16; expected a multiple of 32"),
    ],
)
def test_a_card_of_s_seg_that_does_not_fit_its_weights_is_refused(
    s_seg: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    card = shutil.copytree(s_seg, tmp_path / "mine") / catalogue.CARD
    card.write_text(yaml.safe_dump(yaml.safe_load(card.read_text()) | changes))

    with pytest.raises(WeightsError, match=message):
        catalogue.load("mine", models_dir=tmp_path, device="cpu")


def test_a_name_that_is_taken_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    with pytest.raises(OptionError, match="exists"):
        imported("dense-clip", "mine", tmp_path, clip=[tmp_path / "clip.pt"])
    with pytest.raises(WeightsError, match="no weights"):
        imported("dense-clip", "mine", tmp_path, clip=[tmp_path / "clip.pt"], replace=True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "plain name") for name in ("", "a/b", "..", "tiny@2", "one,two", ".hidden")),
        *((name, f"{name} is the name of a bundled model") for name in ("tiny", "tcl")),
    ],
)
def test_a_name_that_is_none_or_another_methods_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        imported("dense-clip", name, tmp_path, clip=[tmp_path / "clip.pt"])


def test_every_method_with_published_weights_has_an_importer() -> None:
    trained_here_alone = {"tiny", "s-seg-plus"}
    assert set(importable()) == {method.model_name for method in methods().values()} - trained_here_alone


@pytest.mark.usefixtures("acme")
def test_a_package_with_an_entry_point_is_a_method_with_a_bundled_model() -> None:
    assert "acme" in catalogue.bundled()
    assert catalogue.require("acme").card.method == "acme"
    assert isinstance(catalogue.load("acme", device="cpu"), ColourSegmenter)


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
