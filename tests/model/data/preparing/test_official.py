"""Official archives in miniature, each in its published layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from lexiseg_model.data.annotated import read_benchmark
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.preparing.official import official_set
from lexiseg_model.data.preparing.prepare import Prepared, prepare
from lexiseg_model.errors import MissingFilesError
from lexiseg_model.masks.rle import encode_mask
from tests.model.data import trees
from tests.model.data.preparing.packed import pack_zip, tar

SIZE = (32, 40)
Stored = NDArray[np.integer]


def bands(*values: int) -> Stored:
    """[32, 40]: each value in as many rows as the others."""
    return np.repeat(np.array(values)[:, None], SIZE[1], 1).repeat(SIZE[0] // len(values), 0)


def run(name: str, downloads: Path, sets: Path, own: bool = False) -> Prepared:
    return prepare(official_set(name), downloads, sets, own)


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
    write_detail(photographs_2010 / "trainval_merged.json", maps)

    prepared = run("pascal-context", photographs_2010, tmp_path / "sets")

    assert shown(tmp_path / "sets", "pascal-context") == ["airplane", "tv monitor", "wood", 255]
    assert prepared.splits == {"train": 1, "val": 1}
    (measured,) = read_benchmark("context60", tmp_path / "sets" / "official").images
    assert measured.read_labels()[::8, 0].tolist() == [1, 55, 59, 0]


def write_matlab(archive: Path, folder: Path, numbers: Mapping[str, Stored]) -> None:
    (folder / "trainval").mkdir(parents=True)
    for name, each in numbers.items():
        savemat(folder / "trainval" / f"{name}.mat", {"LabelMap": each.astype(np.uint16)}, do_compression=True)
    tar(folder, archive)


def test_pascal_context_is_read_from_matlab_files(photographs_2010: Path, tmp_path: Path) -> None:
    numbers = {"2008_000002": bands(2, 2), "2008_000075": bands(2, 427, 458, 100)}
    write_matlab(photographs_2010 / "trainval.tar.gz", tmp_path / "matlab", numbers)

    prepared = run("pascal-context", photographs_2010, tmp_path / "sets")

    assert shown(tmp_path / "sets", "pascal-context") == ["airplane", "tv monitor", "wood", 255]
    assert prepared.splits == {"train": 1, "val": 1}


def test_our_split_of_pascal_context_has_the_photographs_of_our_voc_split(
    photographs_2010: Path, tmp_path: Path
) -> None:
    maps = {"2008_000002": ("train", bands(2, 2)), "2008_000075": ("val", bands(2, 427, 458, 100))}
    write_detail(photographs_2010 / "trainval_merged.json", maps)

    prepared = run("pascal-context", photographs_2010, tmp_path / "sets", own=True)

    assert prepared.splits == {"val": 1}
    with Image.open(tmp_path / "sets/pascal-context/val/masks/2008_000075.png") as mask:
        assert min(mask.size) == 256


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

    with pytest.raises(MissingFilesError, match=rf"lacks .*{lacking}.*; of it there is") as error:
        run(name, photographs_2010, tmp_path / "sets")

    assert any(each.startswith(lacking[:6]) for each in error.value.missing)
