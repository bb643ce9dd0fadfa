"""Names to models: the bundled one, directories, versions, damaged directories."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save

from lexiseg_model.catalogue import available as module
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.models import cards, load, read_card
from lexiseg_model.catalogue.weights import SkipInit
from lexiseg_model.errors import UnknownModelError, WeightsError

WEIGHTS = "tiny.safetensors"
# Where no answer counts: passes take next to nothing.
SMALL_INPUT = {"short_side": 64, "long_side": 160, "multiple": 32}


def copy_of_tiny(models_dir: Path, name: str, **changes: object) -> Path:
    """A model directory like the bundled one, with changes to its card."""
    folder = models_dir / name
    shutil.copytree(catalogue.bundled()["tiny"], folder)
    change_card(folder, name=name, **changes)
    return folder


def change_card(folder: Path, **changes: object) -> None:
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def replace_weights(folder: Path, content: bytes) -> None:
    """Other weights, which the card vouches for."""
    (folder / WEIGHTS).write_bytes(content)
    change_card(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def test_another_version_is_unknown_and_the_message_names_the_one_there_is() -> None:
    version = read_card(catalogue.bundled()["tiny"]).version

    with pytest.raises(UnknownModelError, match=rf"'tiny@0\.0\.0'; tiny is at version {version}"):
        load("tiny@0.0.0", device="cpu")


def test_an_unknown_name_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    copy_of_tiny(tmp_path, "mine")

    known = ", ".join([*catalogue.bundled(), "mine"])
    with pytest.raises(UnknownModelError, match=f"'clip'; there is: {known}"):
        load("clip", models_dir=tmp_path, device="cpu")
    with pytest.raises(
        UnknownModelError, match=r"`lexiseg models import --method sam3.* files of facebook/sam3 on the hub"
    ):
        load("sam3", models_dir=tmp_path, device="cpu")


def test_a_copied_directory_is_a_model_by_its_own_name(tmp_path: Path) -> None:
    copy_of_tiny(tmp_path, "mine", version="7")
    change_card(tmp_path / "mine", name="tiny")

    loaded = load("mine@7", models_dir=tmp_path, device="cpu").card

    assert (loaded.name, loaded.version) == ("mine", "7")
    assert [card.name for card in cards(tmp_path)] == [*catalogue.bundled(), "mine"]


BAD_CARDS = {
    "partial": b"name: tiny",
    "a list": b"- a\n- list",
    "no YAML": b"{",
    "empty": b"",
    "no text": b"\xff\xd8",
    "no date": b"name: 2001-99-99",
    "references": b"a: &a [x, x]\nb: [*a, *a]",
    "deep": b"name: " + b"[" * 100_000,
    "large": b"#" * (2 << 20),
}


@pytest.mark.parametrize("content", BAD_CARDS.values(), ids=BAD_CARDS)
def test_a_card_that_does_not_validate_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.yaml").write_bytes(content)

    with pytest.raises(WeightsError, match="not a valid card") as refused:
        read_card(tmp_path)

    assert "\n" not in str(refused.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = copy_of_tiny(tmp_path, "mine")
    replace_weights(folder, save(load_file(folder / WEIGHTS) | {"surprise": torch.zeros(3)}))

    with pytest.raises(WeightsError, match=r"mine.*unexpected surprise"):
        load("mine", models_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights_sha256": "f" * 64}, r"its card says ffff.* copy the whole model directory again"),
        ({"embedding": 512}, "512-dimensional"),
        ({"method": "alchemy"}, "alchemy"),
        ({"method": "radseg"}, r"RADSeg was removed in 0\.4\.0; "),
    ],
)
def test_a_card_that_does_not_fit_its_weights_is_refused(changes: dict[str, object], says: str, tmp_path: Path) -> None:
    copy_of_tiny(tmp_path, "mine", **changes)

    with pytest.raises(WeightsError, match=says):
        load("mine", models_dir=tmp_path, device="cpu")


def test_the_name_of_a_removed_model_is_answered_with_its_release() -> None:
    with pytest.raises(UnknownModelError, match=r"'radseg-b@1': RADSeg was removed in 0\.4\.0; "):
        catalogue.require("radseg-b@1")


def test_a_model_without_its_weights_cannot_be_had(tmp_path: Path) -> None:
    (copy_of_tiny(tmp_path, "mine") / WEIGHTS).unlink()

    assert [card.name for card in cards(tmp_path)] == [*catalogue.bundled(), "mine"]
    assert catalogue.require("tiny", tmp_path).card.name == "tiny"
    with pytest.raises(WeightsError, match="has a card and no weights"):
        catalogue.require("mine", tmp_path)


@pytest.mark.parametrize("name", ["tcl", "s-seg", "unpair-seg"])
def test_a_bundled_card_without_weights_says_how_to_provide_them(name: str) -> None:
    for served in (catalogue.require, catalogue.load):
        with pytest.raises(WeightsError, match=rf"models import --method {name} .*or put a model directory"):
            served(name)


@pytest.mark.parametrize("name", catalogue.bundled())
def test_every_bundled_card_states_its_terms_and_the_name_it_is_found_by(name: str) -> None:
    card = catalogue.find(name).card

    assert card.name == name
    assert card.licence
    assert card.training_data
    assert card.limits


@pytest.mark.parametrize("limit", [2.0, 0.001])
def test_undrawn_weights_are_within_the_limits_that_a_draw_would_be_repeated_for(limit: float) -> None:
    tensor = torch.full((8,), 1e9)

    with SkipInit():
        torch.nn.init.trunc_normal_(tensor, a=-limit, b=limit)

    assert tensor.abs().max() <= limit


@pytest.mark.parametrize(
    ("run", "equal", "says"),
    [
        ({"code": "net 1.2", "day": "2026-11-30", "difference": 9e-5}, "yes", "9.0e-05 of the largest value, net 1.2"),
        ({"code": "net 1.2", "day": "2026-11-30", "difference": 2e-4}, "no", "2.0e-04 of the largest value, net 1.2"),
        ({"reason": "a/b is no package"}, "not compared", "a/b is no package"),
    ],
)
def test_a_forward_pass_is_equal_by_a_run_of_the_released_code_and_by_nothing_else(
    run: dict[str, object], equal: str, says: str
) -> None:
    compared = module._compared(run)

    assert compared["forward_equal"] == equal
    assert compared["comparison"].startswith(says)


@pytest.mark.parametrize("name", available())
def test_a_model_ran_on_its_authors_weights_only_where_these_are_here(name: str) -> None:
    entry = available()[name]
    weights_are_here = entry.download_mb == 0 and any(catalogue.bundled()[name].glob("*.safetensors"))

    assert entry.proven == ("yes" if weights_are_here else "not yet")
    assert (entry.check_of is not None) == weights_are_here
