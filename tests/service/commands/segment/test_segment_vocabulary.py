from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import pictures
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "china.jpg"
    path.write_bytes(pictures.encoded(pictures.small("china", 160), "JPEG"))
    return path


def test_a_vocabulary_stands_for_its_classes_and_its_background(lexiseg: CommandLine, photograph: Path) -> None:
    outcome = lexiseg("segment", photograph, "--vocabulary", "camvid", "--out", photograph.parent / "out")

    assert outcome.status == 0, outcome.err
    written = json.loads((photograph.parent / "out" / "annotations.json").read_text())
    (image,) = written["images"]
    assert len(written["categories"]) == 11
    assert sum(found["area"] for found in written["annotations"]) == image["height"] * image["width"]


@pytest.mark.parametrize("name", ["sky,tree", '["sky", "tree"]'])
def test_a_list_as_one_class_is_told_how_several_are_given(lexiseg: CommandLine, name: str) -> None:
    outcome = lexiseg("segment", "china.jpg", "-c", name)

    assert outcome.status == 2
    assert "-c sky -c tree" in outcome.err
