"""`lexiseg segment --format`, to folders and to the standard output; what is skipped, what is not written."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.cli import main
from tests import coco, pictures
from tests.service.commands.command_line import CommandLine, written

QUESTION = ("-c", "sky", "-c", "building")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "china.jpg"
    path.parent.mkdir()
    path.write_bytes(pictures.encoded(pictures.small("china", 160), "JPEG"))
    return path


def class_map(lexiseg: CommandLine, photo: Path) -> NDArray[np.int64]:
    """By COCO's form: 0 for nobody, else the category."""
    out = photo.parent.parent / "reference"
    assert lexiseg("segment", photo, *QUESTION, "--out", out, "-q").status == 0
    content = written(out)
    image = content["images"][0]
    values = np.zeros((image["height"], image["width"]), int)
    for entry in content["annotations"]:
        values[coco.decode(entry["segmentation"])] = entry["category_id"]
    return values


def test_each_segment_is_cut_out(lexiseg: CommandLine, photo: Path, tmp_path: Path) -> None:
    expected = class_map(lexiseg, photo)

    outcome = lexiseg("segment", photo.parent, *QUESTION, "--format", "cutout", "--out", tmp_path / "out")

    assert "images 1 of 1" in outcome.out, outcome.err
    for index, label in enumerate(("sky", "building")):
        with Image.open(tmp_path / f"out/china-{index + 1}-{label}.png") as picture:
            assert (np.asarray(picture)[..., 3] == 255).sum() == (expected == index + 1).sum()


def test_an_image_is_cut_out_within_the_limits_of_the_command_line(
    lexiseg: CommandLine, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXISEG_MAX_PIXELS", "1000")
    command = ("segment", photo, *QUESTION, "--format", "cutout", "--out", tmp_path / "out")

    outcome = lexiseg(*command, "--max-pixels", 1_000_000)

    assert outcome.status == 0, outcome.err


def test_what_is_there_can_be_skipped_even_if_it_changed(lexiseg: CommandLine, photo: Path, tmp_path: Path) -> None:
    command = ("segment", photo, *QUESTION, "--out", tmp_path / "out")
    lexiseg(*command)
    photo.write_bytes(pictures.encoded(pictures.small("flower", 96), "JPEG"))
    before = (tmp_path / "out/china.png").read_bytes()

    assert "images 1 of 1, 1 of them before" in lexiseg(*command, "--skip-existing").out
    assert (tmp_path / "out/china.png").read_bytes() == before


def test_nothing_is_written_when_everything_failed(lexiseg: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")

    outcome = lexiseg("segment", tmp_path / "bad.jpg", "-c", "sky", "--out", tmp_path / "out")

    assert outcome.status == 1
    assert "bad.jpg: image: the first bytes" in outcome.err
    assert "nothing is written" in outcome.out
    assert not (tmp_path / "out").exists()


def printed(monkeypatch: pytest.MonkeyPatch, source: str, kind: str) -> bytes:
    """What the command writes to the standard output."""
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, write_through=True))
    monkeypatch.setattr(sys, "argv", ["lexiseg", "segment", source, *QUESTION, "--format", kind, "--out", "-"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in (0, None)
    return shown.getvalue()


def test_a_picture_goes_in_and_a_label_map_comes_out(
    lexiseg: CommandLine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = class_map(lexiseg, photo)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))

    answer = printed(monkeypatch, "-", "labelmap")

    with Image.open(io.BytesIO(answer)) as picture:
        assert np.array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize("from_stdin", [False, True])
def test_coco_goes_to_the_standard_output(photo: Path, monkeypatch: pytest.MonkeyPatch, from_stdin: bool) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))

    content = json.loads(printed(monkeypatch, "-" if from_stdin else str(photo), "coco"))

    assert [image["file_name"] for image in content["images"]] == ["-" if from_stdin else str(photo)]
    assert {entry["category_id"] for entry in content["annotations"]} == {1, 2}


@pytest.mark.parametrize("kind", ["coco", "cutout"])
def test_an_image_without_a_segment_is_done(lexiseg: CommandLine, photo: Path, tmp_path: Path, kind: str) -> None:
    command = ("segment", photo, "-c", "sky", "--threshold", 1, "--format", kind, "--out", tmp_path / "out")

    assert lexiseg(*command).status == 0
    assert "images 1 of 1, 1 of them before" in lexiseg(*command).out
