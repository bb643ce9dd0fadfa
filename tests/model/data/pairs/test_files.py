"""Caption listings as captions.json, CSV or COCO JSON, and errors about unreadable ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexiseg_model.data.pairs.files import open_pairs
from lexiseg_model.data.pairs.source import PairSource
from lexiseg_model.errors import DatasetError
from tests.model.data.pairs.pair_files import photograph, write_shards


def captions(pairs: PairSource) -> list[tuple[str, ...]]:
    return [pairs.read(part, index).captions for part, size in enumerate(pairs.sizes) for index in range(size)]


def write_photographs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(photograph(number))


def test_a_folder_with_captions_is_read(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", "a.png", "b.png")
    listing = {"a": {"captions": ["one", " two "], "license": "CC"}, "b": ["three"]}
    (tmp_path / "captions.json").write_text(json.dumps(listing))

    pairs = open_pairs(tmp_path)

    assert captions(pairs) == [("one", "two"), ("three",)]
    assert pairs.read(0, 1).photograph == photograph(1)


@pytest.mark.parametrize(
    "table",
    [
        "image,caption\na.png,one\nsub/b.png,two\na.png,three\n",
        "\ufeffCaption,License,FilePath\none,,a.png\ntwo,,sub/b.png\nthree,,a.png\n",
        "filepath\ttitle\na.png\tone\nsub/b.png\ttwo\na.png\tthree\n",
    ],
)
def test_a_table_of_captions_is_read(tmp_path: Path, table: str) -> None:
    write_photographs(tmp_path, "a.png")
    write_photographs(tmp_path / "sub", "b.png")
    (tmp_path / "pairs.csv").write_text(table)

    assert captions(open_pairs(tmp_path / "pairs.csv")) == [("one", "three"), ("two",)]


def test_captions_of_coco_are_read(tmp_path: Path) -> None:
    write_photographs(tmp_path / "val2017", "000000000139.jpg", "000000000285.jpg")
    (tmp_path / "annotations").mkdir()
    listing = tmp_path / "annotations" / "captions_val2017.json"
    images = [{"id": 285, "file_name": "000000000285.jpg"}, {"id": 139, "file_name": "000000000139.jpg"}]
    said = [{"image_id": 139, "caption": "one"}, {"image_id": 285, "caption": "two"}, {"image_id": 139, "caption": "3"}]
    listing.write_text(json.dumps({"images": images, "annotations": said}))

    assert captions(open_pairs(listing)) == [("one", "3"), ("two",)]


def test_several_paths_are_one_source(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", [2, 1])
    write_photographs(tmp_path, "a.png")
    (tmp_path / "pairs.csv").write_text("image,caption\na.png,one\n")

    pairs = open_pairs(tmp_path / "pairs.csv", tmp_path / "a")

    assert list(pairs.sizes) == [1, 2, 1]
    assert captions(pairs) == [("one",), ("picture 0",), ("picture 1",), ("picture 2",)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.json", "[]", r'expected \{"STEM"'),
        ("captions.json", "{", "is not JSON"),
        ("captions.json", "{}", "has no captions"),
        ("captions.json", '{"a": {"captions": "one"}}', "'a': expected a list of captions, got 'one'"),
        ("pairs.csv", "url,caption\nhttp://x,one\n", r"the columns \['url', 'caption'\]; expected one of image, "),
        ("pairs.csv", "", "the columns"),
        ("pairs.csv", "image,caption\n", "has no captions"),
        ("pairs.json", "[]", "not a file of COCO's captions"),
        ("readme.txt", "hello", "holds no pairs; expected"),
    ],
)
def test_an_unreadable_listing_is_reported(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DatasetError, match=message) as caught:
        open_pairs(tmp_path if name == "captions.json" else tmp_path / name)

    assert name in str(caught.value)
