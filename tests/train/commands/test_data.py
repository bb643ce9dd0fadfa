"""`lexiseg data`: check, entities, oracle, pack, prepare and pseudo-label as the shell sees them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lexiseg_model.clip.dino import KINDS, DinoTower
from tests import pictures
from tests.service.commands.command_line import CommandLine
from tests.train.data import trees
from tests.train.data.own.made import save
from tests.train.data.pairs.pair_files import pair, photograph, write_tar
from tests.train.training.pairs_folder import write_pairs


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    save(folder / "train", "a", np.zeros((4, 6, 3), np.uint8), np.array([[0, 1, 1, 1, 0, 255]] * 4, np.uint8))
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
    assert "error: size (1): a mask of another size than its photograph; training skips it" in outcome.out
    assert f"{pets}/train/masks/a.png: 4 x 4, its photograph 6 x 4" in outcome.out
    found = json.loads((tmp_path / "found.json").read_text())[str(pets)]["problems"]
    assert sorted(entry["kind"] for entry in found) == ["empty class", "one value", "size"]


def archive_of(count: int, root: Path) -> Path:
    """Photographs of which the left third is a cat, in a folder of an archive."""
    mask = np.zeros((16, 24), np.uint8)
    mask[:, :8] = 1
    for number in range(count):
        save(root / "pets", f"{number}", np.full((16, 24, 3), number, np.uint8), mask, "png")
    (root / "pets/classes.json").write_text(json.dumps(["background", "cat"]))
    return Path(shutil.make_archive(str(root / "pets"), "zip", root, "pets"))


def test_an_archive_is_surveyed_before_it_is_imported(lexiseg: CommandLine, tmp_path: Path) -> None:
    archive = archive_of(5, tmp_path)

    outcome = lexiseg("data", "import", archive, "--dry-run", "--json", tmp_path / "report.json")

    assert outcome.status == 0
    assert outcome.out.splitlines() == [
        "masks: photographs train 5; 0 left out",
        "  cat: photographs 5, 33.3 %",
        "  of all pixels background 66.7 %, unknown 0.0 %",
    ]
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["classes"] == [{"name": "cat", "pictures": 5, "pixels": 640}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "pets.zip", "report.json"]
    assert lexiseg("data", "import", archive, tmp_path / "sets/pets").status == 0
    assert lexiseg("data", "check", tmp_path / "sets/pets").status == 0  # fit for training


def test_a_set_that_is_too_small_is_surveyed_and_refused_unless_that_is_enough(
    lexiseg: CommandLine, tmp_path: Path
) -> None:
    archive = archive_of(3, tmp_path)

    outcome = lexiseg("data", "import", archive, "--dry-run")

    assert outcome.status == 1
    assert outcome.out.startswith("masks: photographs train 3; 0 left out")
    assert "expected at least 4 photographs, the set has 3" in outcome.err
    assert lexiseg("data", "import", archive, tmp_path / "sets/pets", "--least", "1").status == 0


@pytest.mark.parametrize("words", [(), ("out", "--dry-run")])
def test_an_import_has_a_target_or_is_a_dry_run(words: tuple[str, ...], lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("data", "import", tmp_path, *words)

    assert outcome.status == 2
    assert "expected a folder, or --dry-run without one" in outcome.err


def test_every_broken_pair_is_reported(lexiseg: CommandLine, tmp_path: Path) -> None:
    broken = {"a.jpg": b"<html>", "a.txt": b"words", "b.png": photograph(1), "c.txt": b"words"}
    broken |= {"d.png": photograph(1), "d.txt": b"caf\xe9"}
    write_tar(tmp_path / "pairs/0.tar", pair(1) | broken | pair(2))

    outcome = lexiseg("data", "check", tmp_path / "pairs", "--json", tmp_path / "found.json")

    assert (outcome.status, f"{tmp_path}/pairs: pairs 6" in outcome.out) == (1, True)
    assert f"{tmp_path}/pairs/0.tar/a: cannot be read as an image" in outcome.out
    problems = json.loads((tmp_path / "found.json").read_text())[f"{tmp_path}/pairs"]["problems"]
    kinds = [("unreadable", "a"), ("no caption", "b"), ("unreadable", "c"), ("unreadable", "d")]
    assert [(entry["kind"], entry["file"][-1]) for entry in problems] == kinds


def test_commands_over_files_do_not_wait_for_torch(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "captions", 2)
    code = (
        "import sys; from lexiseg_service.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )

    answer = subprocess.run([sys.executable, "-c", code, "data", "check", pairs], check=False)

    assert answer.returncode == 0


def test_captions_are_parsed_beside_their_set(lexiseg: CommandLine, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "captions", 2)

    outcome = lexiseg("data", "entities", pairs, "--parser", "plain")

    assert outcome.status == 0
    assert outcome.out == f"{pairs}/entities.jsonl: pairs 2\n"
    first = json.loads((pairs / "entities.jsonl").read_text().splitlines()[0])
    assert first["name"] == "images/000.jpg"
    assert first["entities"] == ["red square", "red", "grey"]
    assert "pairs 0, 2 were there before" in lexiseg("data", "entities", pairs, "--parser", "plain").out


def test_colours_that_are_the_classes_reach_all_of_it(lexiseg: CommandLine, tmp_path: Path) -> None:
    truth = np.zeros((64, 64), np.uint8)
    truth[:32, 32:], truth[32:, :32] = 1, 2
    colours = np.array([[30, 30, 30], [220, 40, 40], [40, 200, 60]], np.uint8)
    save(tmp_path / "data" / "flags" / "val", "one", colours[truth], truth, "png")
    (tmp_path / "data" / "flags" / "classes.json").write_text('["background", "red", "green"]')
    torch.manual_seed(0)
    torch.save(DinoTower(KINDS["dino_vits8"]).vit.state_dict(), tmp_path / "tower.pth")

    outcome = lexiseg(
        "data", "oracle", "flags", "--root", tmp_path / "data", "--weights", tmp_path / "tower.pth",
        "--side", 64, "--masks", 3, "--json", tmp_path / "oracle.json",
    )  # fmt: skip

    assert outcome.status == 0, outcome.err
    miou = json.loads((tmp_path / "oracle.json").read_text())["miou"]
    assert miou["colours"] == 100
    assert 0 < miou["dino_vits8"] <= 100
    assert "flags/val, 1 photographs, colours: 100.0 % mIoU" in outcome.out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(photograph(1))
    (tmp_path / "b.png").write_bytes(b"<html>")
    (tmp_path / "pairs.csv").write_text("image,caption\na.png,one\nb.png,two\n")
    return tmp_path / "pairs.csv"


def test_shards_are_written_and_what_is_broken_is_told(lexiseg: CommandLine, table: Path, tmp_path: Path) -> None:
    outcome = lexiseg("data", "pack", table, tmp_path / "shards")

    assert outcome.status == 0
    assert f"{tmp_path}/shards: pairs 1, shards 1\n1 are broken and lie in {tmp_path}/shards/quarantine" in outcome.out
    assert f"  {tmp_path}/b.png: cannot be read as an image" in outcome.out
    assert outcome.err.startswith(f"{tmp_path}/shards: 2 of 2, ")
    again = lexiseg("data", "pack", table, tmp_path / "shards")
    assert "pairs 1, shards 1, 2 of the source's pairs were done before" in again.out


def test_a_set_is_laid_out_and_what_is_not_there_is_said(lexiseg: CommandLine, tmp_path: Path) -> None:
    trees.write_voc(tmp_path / "downloads", {"2007_000033": np.full((6, 8), 3)})

    outcome = lexiseg("data", "prepare", "voc2012", tmp_path / "downloads", tmp_path / "sets")

    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/sets/voc: val 1\n")
    assert "voc2012: 1 of 1, " in outcome.err
    assert "train is not there: voc21, split 'train'" in outcome.err


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    (tmp_path / "photographs").mkdir()
    pictures.small("china", 96).save(tmp_path / "photographs" / "china.jpg")
    return tmp_path / "photographs"


def test_a_model_labels_a_folder(lexiseg: CommandLine, photographs: Path, tmp_path: Path) -> None:
    words = ("-c", "sky", "-c", "building", "--no-background", "--model", "tiny")

    outcome = lexiseg("data", "pseudo-label", photographs, tmp_path / "labelled", *words)

    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/labelled/train: masks by tiny: 1\n"), outcome.err
    mask = np.asarray(Image.open(tmp_path / "labelled/train/masks/china.png"))
    assert mask[0].mean() < 0.2  # sky above
    assert 0.2 < mask.mean() < 0.6  # the building and what is nearer to it than to the sky
    again = lexiseg("data", "pseudo-label", photographs, tmp_path / "labelled", *words)
    assert again.out == f"{tmp_path}/labelled/train: masks by tiny: 0, 1 were there before\n"


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


def test_photographs_that_a_company_may_train_on_are_listed(lexiseg: CommandLine, pets: Path, tmp_path: Path) -> None:
    terms = {"id": 4, "url": "http://creativecommons.org/licenses/by/2.0/"}
    listing = tmp_path / "captions.json"
    listing.write_text(json.dumps({"licenses": [terms], "images": [{"file_name": "a.jpg", "license": 4}]}))

    outcome = lexiseg("data", "licences", tmp_path, listing)

    assert outcome.out.splitlines() == [
        f"{tmp_path}/licences.csv: photographs that may be used: 1",
        f"  1: {terms['url']}",
        "left out: 0 by their licence, 0 that no list names",
    ]
