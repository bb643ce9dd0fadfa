"""Files as people name them: of any bytes, 255 of them, with line breaks, hidden, of rarer suffixes."""

import errno
import json
import os
from pathlib import Path

import pytest

from lexiseg_model.files.names import as_text, from_text
from tests import pictures
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine, written

QUESTION = ("-c", "sky", "-c", "building")
LATIN = os.fsdecode(b"caf\xe9")
LONG = "n" * 251  # .jpg makes 255
ODD = (LATIN, LONG, "a\nb", "[red]", " x: {y}#%2F*")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A photograph of each odd name; what macOS and browsers add to it."""
    folder = tmp_path / f"album {LATIN}"
    (folder / ".thumbnails").mkdir(parents=True)
    for name in ODD:
        (folder / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small("china", 96), "JPEG"))
    for name in ("._a.jpg", ".hidden.jpg", ".thumbnails/a.jpg"):
        (folder / name).write_bytes(b"\0\x05\x16\x07 no photograph")
    return folder


def test_every_photograph_has_its_files(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    command = ("segment", album, *QUESTION, "--format", "cutout", "--out", tmp_path / "out")

    outcome = lexiseg(*command)

    assert outcome.status == 0, outcome.err
    names = [path.name for path in (tmp_path / "out").rglob("*")]
    assert sorted(name for name in names if name.startswith("caf_")) == ["caf_-1-sky.png", "caf_-2-building.png"]
    assert [len([name for name in names if name.startswith(each)]) for each in ("nnn", "a_b")] == [2, 2]
    assert "images 5 of 5, 5 of them before" in lexiseg(*command).out


def test_names_in_the_data_set_of_a_stranger_steer_no_terminal(lexiseg: CommandLine, tmp_path: Path) -> None:
    listed = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (folder := tmp_path / "set").mkdir()
    (folder / "b.jpg").write_bytes(b"")
    (folder / "\x1b]0;title\x07.json").write_text(json.dumps(listed))
    (labelled := tmp_path / "labelled").mkdir()
    (labelled / "b.jpg").write_bytes(pictures.encoded(pictures.small("china", 64), "JPEG"))
    box = {"label": "\x1b[31mcat", "points": [[4, 4], [50, 4], [50, 40]], "shape_type": "polygon"}
    (labelled / "b.json").write_text(json.dumps({"imagePath": "b.jpg", "shapes": [box]}))

    refused = lexiseg("data", "import", folder, tmp_path / "out")
    imported = lexiseg("data", "import", labelled, "--dry-run", "--least", 1)

    assert "_]0;title_.json is not a file of COCO's instances" in refused.err
    assert "  _[31mcat: photographs 1, " in imported.out
    assert not any("\x1b" in text for text in (refused.err, imported.out, imported.err))


def test_a_name_that_the_folder_of_results_refuses_costs_itself(
    lexiseg: CommandLine, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def as_elsewhere(source: Path, target: Path) -> None:
        if target.name.startswith("[red]"):
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", as_elsewhere)

    outcome = lexiseg("segment", album, *QUESTION, "--format", "labelmap", "--out", tmp_path / "out")

    assert outcome.status == 1
    assert "no file can be called so in the folder of results: Invalid or incomplete multibyte" in outcome.err
    assert "images 4 of 5" in outcome.out


def test_bulk_has_a_row_and_the_files_of_each(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    formats = ("--to", "coco", "--to", "yolo", "--to", "webdataset")

    outcome = lexiseg("bulk", album, tmp_path / "out", *QUESTION, "--local", *formats)

    assert outcome.status == 0, outcome.err
    rows = jobs.rows(tmp_path / "out")
    assert {row["id"]: row["status"] for row in rows} == {f"{as_text(name)}.jpg": "ok" for name in ODD}
    images = written(tmp_path / "out/coco")["images"]
    assert all((album / from_text(image["source"])).is_file() for image in images)
    assert len(list((tmp_path / "out/yolo/images").iterdir())) == len(ODD)


def test_bulk_reads_a_table_of_any_bytes(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    listing = album / "list.csv"
    listing.write_bytes(b"path\ncaf\xe9.jpg\n[red].jpg\n")

    outcome = lexiseg("bulk", listing, tmp_path / "out", *QUESTION, "--local")

    assert outcome.status == 0, outcome.err
    assert {row["status"] for row in jobs.rows(tmp_path / "out")} == {"ok"}


def test_models_are_compared_on_one(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    for name in ODD[1:]:
        (album / f"{name}.jpg").unlink()

    outcome = lexiseg("compare", "tiny", "tiny", album, *QUESTION, "--json", tmp_path / "figures.json")

    assert outcome.status == 0, outcome.err
    photographs = json.loads((tmp_path / "figures.json").read_text())["photographs"]
    assert [each["photograph"] for each in photographs] == [f"{album}/{LATIN}.jpg"]


def test_thresholds_are_chosen_from_all(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    command = ("calibrate", album, "--vocabulary", "voc21", "--dry-run", "--out", tmp_path / "report")

    assert lexiseg(*command).status == 0
    assert "5 photographs" in (tmp_path / "report/report.html").read_text()


def test_pseudo_labels_are_written_and_checked(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    target = tmp_path / f"set {LATIN}"

    outcome = lexiseg("data", "pseudo-label", album, target, *QUESTION)

    assert outcome.status == 0, outcome.err
    assert len(list((target / "train/masks").glob("*.png"))) == len(ODD)
    checked = lexiseg("data", "check", target, "--json", tmp_path / "found.json")
    assert f"set {as_text(LATIN)}: train 5" in checked.out, checked.err
    assert "cannot be read" not in checked.out


def test_pairs_of_a_table_of_any_bytes_are_packed(lexiseg: CommandLine, album: Path, tmp_path: Path) -> None:
    listing = album / "pairs.csv"
    listing.write_bytes(b"image,caption\ncaf\xe9.jpg,a photograph\n[red].jpg,a d\xe9cor\n._a.jpg,no photograph\n")

    outcome = lexiseg("data", "pack", listing, tmp_path / "shards")

    assert "pairs 2, shards 1" in outcome.out, outcome.err
    assert "1 are broken" in outcome.out
