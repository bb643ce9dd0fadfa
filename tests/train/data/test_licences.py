"""`licences.csv` from COCO's and Open Images' lists."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.licences import usable_photographs, write_licences

CC = "http://creativecommons.org/licenses"
LICENCES = [
    {"id": 1, "name": "Attribution-NonCommercial-ShareAlike License", "url": f"{CC}/by-nc-sa/2.0/"},
    {"id": 4, "name": "Attribution License", "url": f"{CC}/by/2.0/"},
    {"id": 5, "name": "Attribution-ShareAlike License", "url": f"{CC}/by-sa/2.0/"},
    {"id": 6, "name": "Attribution-NoDerivs License", "url": f"{CC}/by-nd/2.0/"},
    {"id": 7, "name": "No known copyright restrictions", "url": "http://flickr.com/commons/usage/"},
]


def save(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(file)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    root = tmp_path / "sets"
    save(*(root / f"coco/train/images/{number:012}.jpg" for number in (1, 4, 5, 6, 7, 9)), root / "found/images/ab.jpg")
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    images = [
        {
            "id": licence["id"],
            "file_name": f"{licence['id']:012}.jpg",
            "license": licence["id"],
            "flickr_url": "http://f/1",
        }
        for licence in LICENCES
    ]
    listing = tmp_path / "captions_train2017.json"
    listing.write_text(json.dumps({"licenses": LICENCES, "images": images, "annotations": []}))
    return listing


def test_cocos_photographs_with_free_terms_are_listed(sets: Path, coco: Path) -> None:
    written = write_licences(sets, [coco])

    assert (written.free.total(), written.refused, written.unknown) == (3, 2, 2)
    assert usable_photographs(sets, ["coco"]) == {"coco": {f"{number:012}" for number in (4, 5, 7)}}


def test_open_images_rows_join_those_that_are_there(sets: Path, coco: Path, tmp_path: Path) -> None:
    write_licences(sets, [coco])
    listing = tmp_path / "train-images.csv"
    rows = (
        f"ImageID,License,Author,OriginalLandingURL\nab,{CC}/by/2.0/,Ann,http://f/ab\ncd,{CC}/by/2.0/,Bo,http://f/cd\n"
    )
    listing.write_text(rows)

    written = write_licences(sets, [listing])

    assert written.free == {f"{CC}/by/2.0/": 1}
    with (sets / "licences.csv").open(newline="") as file:
        listed = {row["file"]: row["author"] for row in csv.DictReader(file)}
    assert listed["found/images/ab.jpg"] == "Ann"
    assert len(listed) == 4


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", "{}", "is not COCO's JSON with licences"),
        ("a.json", '{"images": [', "cannot be read"),
        ("a.csv", "id,licence\n1,CC0\n", r"has the columns \['id', 'licence'\]; expected ImageID and License"),
        ("a.csv", "", "has the columns None; expected ImageID"),
    ],
)
def test_a_list_of_another_kind_is_refused(sets: Path, tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DatasetError, match=expected):
        write_licences(sets, [tmp_path / name])


def test_a_folder_without_photographs_is_refused(tmp_path: Path, coco: Path) -> None:
    with pytest.raises(DatasetError, match="expected SET/images or SET/SPLIT/images"):
        write_licences(tmp_path / "nothing", [coco])
