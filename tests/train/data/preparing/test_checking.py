"""Problems that the check of a data set reports."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.preparing.checking import check_masks
from tests.train.data.own.made import save

CLASSES = ["background", "cat", "dog"]
HEIGHT, WIDTH = 40, 60


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


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


def stored_twice(file: Path) -> None:
    for kind, name in (("images", "2.jpg"), ("masks", "2.png")):
        original = file.parents[1] / kind / name
        original.with_name(f"again{name[1:]}").write_bytes(original.read_bytes())


def of_sixteen_bits(file: Path) -> None:
    file.unlink()
    Image.fromarray(np.asarray(picture(1).convert("L")).astype(np.uint16)).save(file.with_suffix(".png"))


def turned(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1).save(file, exif=exif)


@pytest.mark.parametrize(
    ("file", "spoil", "problem"),
    [
        ("train/images/1.jpg", cut_short, ("unreadable", "train/images/1.jpg")),
        ("train/masks/1.png", cut_short, ("unreadable", "train/masks/1.png")),
        ("train/masks/1.png", Path.unlink, ("no mask", "train/images/1.jpg")),
        ("train/images/2.jpg", stored_twice, ("twice", "train/images/again.jpg")),
        ("train/images/1.jpg", of_sixteen_bits, ("depth", "train/images/1.png")),
        ("train/images/1.jpg", turned, ("size", "train/masks/1.png")),
    ],
)
def test_a_faulty_file_is_found(pets: Path, file: str, spoil: Callable[[Path], None], problem: tuple[str, str]) -> None:
    spoil(pets / file)

    assert kinds(pets) == [problem]


@pytest.mark.parametrize(
    ("masks", "values", "kind", "detail"),
    [
        (["val/masks/4.png"], (0, 3, 200, 255), "value", "holds 3, 200; expected 0 to 2"),
        (["train/masks/1.png", "train/masks/2.png"], (0, 2), "empty class", "1 cat"),
        (["train/masks/1.png", "train/masks/2.png"], (0, 255), "one value", "hold only 0 and perhaps 255"),
    ],
)
def test_faulty_values_of_masks_are_found(
    pets: Path, masks: list[str], values: tuple[int, ...], kind: str, detail: str
) -> None:
    for name in masks:
        Image.fromarray(mask(*values)).save(pets / name)

    checked = check_masks(pets)

    assert any(entry.kind == kind and detail in entry.detail for entry in checked.problems)
    assert bool(checked.errors) == (kind == "value")


@pytest.mark.parametrize(("size", "quality"), [((WIDTH, HEIGHT), 60), ((45, 30), 95)])
def test_a_training_photograph_in_val_is_found_by_content(pets: Path, size: tuple[int, int], quality: int) -> None:
    picture(1).resize(size).save(pets / "val/images/renamed.jpg", quality=quality)
    Image.fromarray(mask(0, 1, 2)).resize(size, Image.Resampling.NEAREST).save(pets / "val/masks/renamed.png")

    assert kinds(pets) == [("in train and val", "val/images/renamed.jpg")]


def test_photographs_of_a_fixed_camera_look_alike_and_make_no_set_unfit(pets: Path) -> None:
    view = np.asarray(picture(9, (640, 480)))
    for number in range(6):
        photograph = view.copy()
        photograph[100 * (number % 3) : 100 * (number % 3) + 30, 100 * number : 100 * number + 30] = (255, 0, 255)
        save(pets / ("val" if number % 2 else "train"), f"belt-{number}", photograph, np.zeros((480, 640), np.uint8))

    checked = check_masks(pets)

    assert checked.errors == []
    assert [entry.kind for entry in checked.problems] == ["alike"] * 5


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
