"""Rows of the sentence encoder do not depend on the batch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.words import text_tower
from lexiseg_model.methods.tiny.words.text_tower import (
    INSTALL,
    SETTING,
    SHA256,
    TOKENIZER,
    WEIGHTS,
    MiniLM,
    tower_folder,
)


def test_a_row_does_not_depend_on_its_batch_or_on_threads(tower: MiniLM) -> None:
    words = [f"a photo of a {'big ' * (index % 6)}thing {index}." for index in range(text_tower.BATCH + 20)]
    threads = torch.get_num_threads()
    together = tower.encode(words)
    try:
        torch.set_num_threads(2)
        pieces = [tower.encode(words[start : start + 7]) for start in range(0, len(words), 7)]
        left_as_it_was = torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    np.testing.assert_array_equal(np.concatenate(pieces), together)
    np.testing.assert_array_equal(tower.encode(words[::-1]), together[::-1])
    assert left_as_it_was


@pytest.fixture(scope="module")
def originals() -> Path:
    """The files of the installed package."""
    return tower_folder()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed."""
    monkeypatch.setattr(text_tower, "PACKAGE", "a_package_nobody_has")


def copied(originals: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in SHA256:
        shutil.copy(originals / name, folder)
    return folder


def damage(path: Path) -> None:
    """One bit of another value, the size as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_installed_package_takes_precedence(originals: Path, tmp_path: Path) -> None:
    assert originals.parent.name == text_tower.PACKAGE
    assert tower_folder(copied(originals, tmp_path / "own")) == originals


def test_a_folder_of_the_user_replaces_the_package(originals: Path, bare: None, tmp_path: Path) -> None:
    own = copied(originals, tmp_path / "own")

    assert tower_folder(own) == own
    assert MiniLM(own).encode(["cat"]).shape == (1, 384)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
def test_a_damaged_file_is_refused_by_its_digest(originals: Path, bare: None, tmp_path: Path, name: str) -> None:
    own = copied(originals, tmp_path / "own")
    damage(own / name)

    with pytest.raises(WeightsError, match=rf"{name} of .* has sha256 [0-9a-f]{{64}} instead of {SHA256[name]}"):
        MiniLM(own)


def test_files_are_hashed_once_until_one_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vocabulary"
    file.write_bytes(b"as published")
    monkeypatch.setattr(text_tower, "SHA256", {file.name: file_digest(file)})
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(text_tower, "file_digest", counted)

    text_tower.check(tmp_path)
    text_tower.check(tmp_path)
    assert hashed == [file]

    file.write_bytes(b"another")
    with pytest.raises(WeightsError, match="instead of"):
        text_tower.check(tmp_path)


def test_a_missing_tower_is_reported_with_two_remedies(bare: None) -> None:
    with pytest.raises(WeightsError) as failure:
        tower_folder()

    said = str(failure.value)
    assert "\n" not in said
    assert all(way in said for way in (INSTALL, SETTING))


def test_the_catalog_asks_for_the_text_tower_before_anything_is_loaded(
    originals: Path, bare: None, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="the text tower"):
        catalogue.require("tiny")

    own = copied(originals, tmp_path / "own")
    assert catalogue.require("tiny", text_tower=own).card.name == "tiny"
    assert catalogue.load("tiny", device="cpu", text_tower=own).card.name == "tiny"
