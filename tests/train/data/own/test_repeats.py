"""Equal photographs are used once; those that look alike are used, and stay on one side of a split."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.alike import GROUPS, validation_side
from lexiseg_train.data.indexed import IGNORE, read_dataset
from lexiseg_train.data.own.prepare import prepare
from lexiseg_train.methods.tiny.own.finetune import folds
from tests.train.data.own.made import coco, folders, noise, save
from tests.train.data.test_alike import belt


def camera(root: Path, count: int, first: int = 0) -> Path:
    """Photographs of a fixed camera, each with its object's mask."""
    for number in range(first, first + count):
        photograph = belt(number)
        save(root, f"{number:02}", photograph, (photograph[..., 0] < 75).astype(np.uint8), "png")
    (root / "classes.json").write_text(json.dumps(["background", "screw"]))
    return root


def test_photographs_of_a_fixed_camera_are_used_and_counted(tmp_path: Path) -> None:
    camera(tmp_path / "in" / "train", 6)
    camera(tmp_path / "in" / "val", 3, first=6)
    (tmp_path / "in/train/classes.json").rename(tmp_path / "in/classes.json")

    prepared = prepare(tmp_path / "in", tmp_path / "out")

    assert prepared.photographs == {"train": 6, "val": 3}
    assert not any("duplicates" in warning for warning in prepared.warnings)
    assert any("6 of 6 photographs look alike" in warning for warning in prepared.warnings)
    assert any("3 of 3 validation photographs look like training ones" in warning for warning in prepared.warnings)


def written(root: Path, name: str = "out") -> list[NDArray[np.uint8]]:
    return [sample.read_mask() for sample in read_dataset(root, name, "train").samples]


@pytest.mark.parametrize(
    ("other", "expected"), [(1, 1), (2, IGNORE), (IGNORE, 1)], ids=["equal", "contradicted", "unknown"]
)
def test_equal_photographs_are_used_once_with_what_their_masks_agree_on(
    other: int, expected: int, tmp_path: Path
) -> None:
    root = folders(tmp_path / "in", 5)
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 1
    save(root, "0", noise(0), mask, "png")
    (root / "images" / "0.jpg").unlink()
    mask[:, :16] = other
    save(root, "copy", noise(0), mask, "png")

    prepared = prepare(root, tmp_path / "out")

    assert prepared.photographs == {"train": 5}
    assert any("duplicates, each used once: 1," in warning for warning in prepared.warnings)
    first = written(tmp_path)[0]
    assert set(first[:, :16].ravel().tolist()) == {expected}
    assert not first[:, 16:].any()


def test_photographs_of_which_nothing_is_known_are_left_out_and_counted(tmp_path: Path) -> None:
    root = folders(tmp_path / "in", 5)
    save(root, "blank", noise(9), np.full((24, 32), IGNORE, np.uint8))

    prepared = prepare(root, tmp_path / "out")

    assert prepared.photographs == {"train": 5}
    assert any("without a known pixel, left out: 1, such as images/blank.jpg" in each for each in prepared.warnings)


def test_photographs_that_look_alike_are_in_one_fold(tmp_path: Path) -> None:
    root = folders(tmp_path / "in", 6)
    for number in range(6):
        brighter = np.clip(noise(number).astype(int) + 2, 0, 255).astype(np.uint8)
        save(root, f"{number}-again", brighter, np.ones((24, 32), np.uint8), "png")

    prepare(root, tmp_path / "out")

    groups = np.array(json.loads((tmp_path / "out" / GROUPS).read_bytes()))
    fold_of = folds(groups, 3, seed=0)
    assert len(set(groups.tolist())) == 6
    assert all(len(set(fold_of[groups == group].tolist())) == 1 for group in groups)
    assert np.bincount(fold_of).tolist() == [4, 4, 4]


def test_folds_of_photographs_of_their_own_differ_by_one_at_most() -> None:
    assert sorted(np.bincount(folds(np.arange(11), 3, seed=1)).tolist()) == [3, 4, 4]


BURSTS = {  # numbers of photographs that look alike, and of them in validation
    "each like no other": ([1] * 9, [1, 0, 0, 0] * 2 + [1]),
    "six bursts": ([3] * 6, [3, 0, 0, 0, 3, 0]),
    "two cameras": ([5, 5], [5, 0]),
}


@pytest.mark.parametrize("case", BURSTS)
def test_no_photograph_for_validation_looks_like_one_for_training(case: str, tmp_path: Path) -> None:
    paths, (sizes, expected) = [], BURSTS[case]
    for seed, size in enumerate(sizes):
        for level in range(size):
            paths.append(tmp_path / f"{seed}-{level}.png")
            Image.fromarray(np.clip(noise(seed).astype(int) + level, 0, 255).astype(np.uint8)).save(paths[-1])
    if case == "six bursts":
        paths.append(tmp_path / "torn.png")  # looks like no other
        paths[-1].write_bytes(b"\x89PNG")

    sides = iter(validation_side(paths, 0.25))

    assert [sum(next(sides) for _ in range(size)) for size in sizes] == expected


def test_files_of_one_photograph_add_up(tmp_path: Path) -> None:
    # A file of cats and a file of dogs: a photograph of both is in both.
    cat = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]}
    dog = {"id": 1, "image_id": 0, "category_id": 7, "segmentation": [[16, 8, 24, 8, 24, 16, 16, 16]]}
    root = coco(tmp_path / "in", [cat], "cats.json", images=4)
    coco(root, [dog], "dogs.json", images=4)

    prepared = prepare(root, tmp_path / "out")

    assert prepared.photographs == {"train": 4}
    assert [int((written(tmp_path)[0] == value).sum()) for value in (1, 2, IGNORE)] == [64, 64, 0]
    assert not any("duplicates" in warning for warning in prepared.warnings)
