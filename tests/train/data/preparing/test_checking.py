"""Problems that the check of a data set reports."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.preparing.checking import check_masks, check_pairs
from tests.train.data.own.made import save
from tests.train.data.pairs.pair_files import pair, photograph, write_tar

CLASSES = ["background", "cat", "dog"]
HEIGHT, WIDTH = 40, 60
SIZES = "60 x 39, its photograph 60 x 40 upright"


def picture(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Patches of random colours: no two seeds are alike."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def mask(*values: int) -> NDArray[np.uint8]:
    """Stripes of these values."""
    return np.repeat(np.resize(np.array(values, np.uint8), (HEIGHT, 1)), WIDTH, 1)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A set without a fault: two photographs in each of two splits."""
    folder = tmp_path / "pets"
    for split, seeds in (("train", (1, 2)), ("val", (3, 4))):
        for seed in seeds:
            save(folder / split, f"{seed}", np.asarray(picture(seed)), mask(0, 1, 2, 255), quality=95)
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    return folder


def kinds(folder: Path) -> list[tuple[str, str]]:
    """Kind and file of each problem, the file from the set's folder on."""
    return [(entry.kind, str(Path(entry.file).relative_to(folder))) for entry in check_masks(folder).problems]


def test_mask_values_beyond_the_class_list_are_found(pets: Path) -> None:
    Image.fromarray(mask(0, 3, 200, 255)).save(pets / "val/masks/4.png")

    problems = check_masks(pets).problems

    assert [(entry.kind, entry.detail) for entry in problems] == [("value", "holds 3, 200; expected 0 to 2")]


@pytest.mark.parametrize("broken", ["train/images/1.jpg", "train/masks/1.png"])
def test_unreadable_files_are_found(pets: Path, broken: str) -> None:
    (pets / broken).write_bytes((pets / broken).read_bytes()[:60])

    assert kinds(pets) == [("unreadable", broken)]


def test_a_class_without_pixels_is_found(pets: Path) -> None:
    for number in (1, 2):
        Image.fromarray(mask(0, 2)).save(pets / f"train/masks/{number}.png")

    assert [(entry.kind, entry.detail) for entry in check_masks(pets).problems] == [("empty class", "1 cat")]
    assert check_masks(pets).errors == []


@pytest.mark.parametrize(("size", "quality"), [((WIDTH, HEIGHT), 60), ((45, 30), 95)])
def test_a_training_photograph_in_val_is_found_by_content(pets: Path, size: tuple[int, int], quality: int) -> None:
    picture(1).resize(size).save(pets / "val/images/renamed.jpg", quality=quality)
    Image.fromarray(mask(0, 1, 2)).resize(size, Image.Resampling.NEAREST).save(pets / "val/masks/renamed.png")

    assert kinds(pets) == [("in train and val", "val/images/renamed.jpg")]


def test_masks_of_0_and_255_alone_are_found(pets: Path) -> None:
    for name in ("1", "2"):
        Image.fromarray(mask(0, 255)).save(pets / f"train/masks/{name}.png")

    assert ("one value", "train") in kinds(pets)


def test_a_duplicate_photograph_is_found(pets: Path) -> None:
    for kind, name in (("images", "2.jpg"), ("masks", "2.png")):
        (pets / "train" / kind / f"again{name[1:]}").write_bytes((pets / "train" / kind / name).read_bytes())

    assert kinds(pets) == [("twice", "train/images/again.jpg")]


def test_photographs_of_a_fixed_camera_look_alike_and_make_no_set_unfit(pets: Path) -> None:
    view = np.asarray(picture(9, (640, 480)))
    for number in range(6):
        photograph = view.copy()
        photograph[100 * (number % 3) : 100 * (number % 3) + 30, 100 * number : 100 * number + 30] = (255, 0, 255)
        save(pets / ("val" if number % 2 else "train"), f"belt-{number}", photograph, np.zeros((480, 640), np.uint8))

    checked = check_masks(pets)

    assert checked.errors == []
    assert [entry.kind for entry in checked.problems] == ["alike"] * 5


def test_photographs_without_masks_are_found(pets: Path) -> None:
    (pets / "train/masks/1.png").unlink()

    assert kinds(pets) == [("no mask", "train/images/1.jpg")]


def test_a_photograph_whose_depth_is_guessed_is_found(pets: Path) -> None:
    dim = np.asarray(picture(1).convert("L")).astype(np.uint16)
    (pets / "train/images/1.jpg").unlink()
    Image.fromarray(dim).save(pets / "train/images/1.png")

    assert kinds(pets) == [("depth", "train/images/1.png")]


def test_a_mask_of_the_stored_pixels_of_a_turned_photograph_is_found(pets: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1).save(pets / "train/images/1.jpg", exif=exif)

    assert kinds(pets) == [("size", "train/masks/1.png")]


@pytest.mark.parametrize(
    ("listing", "detail"), [(None, "there is no classes.json"), ('["a", "a"]', "'a' occurs twice"), ("{", "JSON")]
)
def test_an_invalid_class_list_is_found(pets: Path, listing: str | None, detail: str) -> None:
    if listing is None:
        (pets / "classes.json").unlink()
    else:
        (pets / "classes.json").write_text(listing)

    kind = "layout" if listing else "no classes"
    assert any(entry.kind == kind and detail in entry.detail for entry in check_masks(pets).problems)


def test_every_broken_pair_is_reported(tmp_path: Path) -> None:
    broken = {"a.jpg": b"<html>", "a.txt": b"words", "b.png": photograph(1), "c.txt": b"words"}
    broken |= {"d.png": photograph(1), "d.txt": b"caf\xe9"}
    write_tar(tmp_path / "0.tar", pair(1) | broken | pair(2))

    checked = check_pairs(open_pairs(tmp_path))

    assert checked.photographs == {"pairs": 6}
    assert [(entry.kind, entry.file[-1]) for entry in checked.problems] == [
        ("unreadable", "a"),
        ("no caption", "b"),
        ("unreadable", "c"),
        ("unreadable", "d"),
    ]
