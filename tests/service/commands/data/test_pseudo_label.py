"""`lexiseg data pseudo-label` with the bundled model, as the shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    (tmp_path / "photographs").mkdir()
    pictures.small("china", 96).save(tmp_path / "photographs" / "china.jpg")
    return tmp_path / "photographs"


def test_a_model_labels_a_folder(lexiseg: CommandLine, photographs: Path, tmp_path: Path) -> None:
    words = ("-c", "sky", "-c", "building", "--no-background", "--model", "tiny")

    outcome = lexiseg("data", "pseudo-label", photographs, tmp_path / "labelled", *words)

    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/labelled/train: 1 masks by tiny\n"), outcome.err
    mask = np.asarray(Image.open(tmp_path / "labelled/train/masks/china.png"))
    assert mask[0].mean() < 0.2  # sky above
    assert mask[-1].mean() > 0.5  # of two words, the ground is nearer to a building
    again = lexiseg("data", "pseudo-label", photographs, tmp_path / "labelled", *words)
    assert again.out == f"{tmp_path}/labelled/train: 0 masks by tiny, 1 were there before\n"


def test_the_classes_of_a_set_are_asked_with_its_background(
    lexiseg: CommandLine, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(["background", "sky"]))
    (photographs / "broken.jpg").write_bytes(b"<html>")

    outcome = lexiseg(
        "data", "pseudo-label", photographs, tmp_path / "labelled", "--classes", tmp_path / "classes.json"
    )

    assert json.loads((tmp_path / "labelled/classes.json").read_text()) == ["background", "sky"]
    assert f"1 sample could not be read, such as {photographs}/broken.jpg: cannot be read as an image" in outcome.out
