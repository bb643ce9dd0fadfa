"""`lexiseg data check` as the shell sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model.data.pairs.pair_files import pair, write_tar
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for kind in ("images", "masks"):
        (folder / "train" / kind).mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(folder / "train/images/a.jpg")
    Image.fromarray(np.array([[0, 1, 1, 1, 0, 255]] * 4, np.uint8)).save(folder / "train/masks/a.png")
    (folder / "classes.json").write_text(json.dumps(["background", "cat"]))
    return folder


def test_a_set_that_is_fit_ends_with_0(lexiseg: CommandLine, pets: Path) -> None:
    outcome = lexiseg("data", "check", pets)

    assert (outcome.status, outcome.out) == (0, f"{pets}: train 1\n  nothing is wrong with it\n")
    assert outcome.err.startswith(f"{pets}: 1 of 1, ")


def test_a_set_that_is_unfit_ends_with_1_and_says_why(lexiseg: CommandLine, pets: Path, tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(pets / "train/masks/a.png")

    outcome = lexiseg("data", "check", pets, "--json", tmp_path / "found.json")

    assert outcome.status == 1
    assert "error: size, 1 times: a mask of another size than its photograph; training skips it" in outcome.out
    assert f"{pets}/train/masks/a.png: 4 x 4, its photograph 6 x 4" in outcome.out
    found = json.loads((tmp_path / "found.json").read_text())[str(pets)]["problems"]
    assert sorted(entry["kind"] for entry in found) == ["empty class", "size"]


def test_pairs_are_checked(lexiseg: CommandLine, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", pair(1) | {"a.jpg": b"<html>", "a.txt": b"words"})

    outcome = lexiseg("data", "check", tmp_path)

    assert outcome.status == 1
    assert f"{tmp_path}: pairs 2" in outcome.out
    assert f"{tmp_path}/0.tar/a: cannot be read as an image" in outcome.out


def test_sa_1b_is_checked(lexiseg: CommandLine, tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "sa_1.jpg")
    (tmp_path / "sa_1.json").write_text(json.dumps({"annotations": [{"segmentation": {"size": [4, 5], "counts": ""}}]}))

    outcome = lexiseg("data", "check", tmp_path)

    assert outcome.status == 1
    assert f"{tmp_path}/sa_1.jpg: its objects cannot be read: a mask of 5 x 4, its photograph 6 x 4" in outcome.out


@pytest.mark.parametrize(("name", "message"), [("nowhere", "does not exist"), (".", "holds no pairs; expected")])
def test_what_is_no_set_is_refused(lexiseg: CommandLine, tmp_path: Path, name: str, message: str) -> None:
    outcome = lexiseg("data", "check", tmp_path / name)

    assert outcome.status == 1
    assert message in outcome.err


def test_commands_over_files_do_not_wait_for_torch() -> None:
    code = "import sys, lexiseg_service.commands.data.runs; sys.exit('torch' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], check=False)

    assert answer.returncode == 0
