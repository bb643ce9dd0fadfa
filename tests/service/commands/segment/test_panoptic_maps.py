"""Panoptic files, read by the rules that panopticapi publishes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import ClassEntry, Segment
from lexiseg_service.commands.segment.panoptic_maps import PanopticMaps

CLASSES = (ClassEntry("sky", thing=False), ClassEntry("car", thing=True))
IMAGE = {"id": 1, "file_name": "photos/street.jpg", "height": 20, "width": 30}


def segments_of(ids: NDArray[np.uint16], classes: dict[int, int]) -> list[Segment]:
    """One for each id of a label map."""
    rles = encode_label_map(ids, int(ids.max()) + 1)
    return [
        Segment(number, f"class {index}", index, 0.91234, rles[number], is_thing=True)
        for number, index in classes.items()
    ]


def read(folder: Path) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The JSON, and the ids [H, W] of the first image's map."""
    content: dict[str, Any] = json.loads((folder / "panoptic.json").read_text())
    with Image.open(folder / "panoptic" / content["annotations"][0]["file_name"]) as picture:
        assert picture.mode == "RGB"
        red, green, blue = np.moveaxis(np.asarray(picture).astype(np.int64), 2, 0)
    return content, red + 256 * green + 65536 * blue


def test_the_ids_of_the_map_are_those_of_the_json(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint16)
    ids[:, 10:20], ids[:5, 20:], ids[5:, 20:] = 1, 2, 700  # more than a byte holds
    maps = PanopticMaps(tmp_path, CLASSES)

    maps.add(IMAGE, "street.png", segments_of(ids, {1: 0, 2: 1, 700: 1}))
    maps.write()

    content, found = read(tmp_path)
    assert np.array_equal(found, ids)
    (annotation,) = content["annotations"]
    assert annotation["image_id"] == content["images"][0]["id"] == 1
    assert {info["id"] for info in annotation["segments_info"]} == set(np.unique(found)) - {0}
    for info in annotation["segments_info"]:
        rows, columns = np.nonzero(found == info["id"])
        assert info["area"] == len(rows)
        left, top = int(columns.min()), int(rows.min())
        assert info["bbox"] == [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
        assert info["iscrowd"] == 0
    assert [info["category_id"] for info in annotation["segments_info"]] == [1, 2, 2]


def test_categories_say_what_is_a_thing(tmp_path: Path) -> None:
    PanopticMaps(tmp_path, [*CLASSES, ClassEntry("flying saucer")]).write()

    content = json.loads((tmp_path / "panoptic.json").read_text())

    assert [(entry["id"], entry["name"], entry["isthing"]) for entry in content["categories"]] == [
        (1, "sky", 0),
        (2, "car", 1),
        (3, "flying saucer", 1),
    ]
    assert len({tuple(entry["color"]) for entry in content["categories"]}) == 3


def test_the_segments_have_the_last_word_on_what_is_a_thing(tmp_path: Path) -> None:
    maps = PanopticMaps(tmp_path, [CLASSES[0], ClassEntry("lawn mower tracks")])
    ids = np.ones((20, 30), np.uint16)
    (segment,) = segments_of(ids, {1: 1})

    maps.add(IMAGE, "street.png", [replace(segment, is_thing=False)])
    maps.write()

    content, _ = read(tmp_path)
    assert [entry["isthing"] for entry in content["categories"]] == [0, 0]


def test_a_segment_without_pixels_is_left_out(tmp_path: Path) -> None:
    ids = np.ones((20, 30), np.uint16)
    ids[0, 0] = 3
    maps = PanopticMaps(tmp_path, CLASSES)

    maps.add(IMAGE, "street.png", segments_of(ids, {1: 0, 2: 1, 3: 1}))
    maps.write()

    content, _ = read(tmp_path)
    assert [info["id"] for info in content["annotations"][0]["segments_info"]] == [1, 3]
