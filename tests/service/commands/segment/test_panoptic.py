"""Panoptic files in the format of panopticapi."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Segment
from lexiseg_client.segments import RunLengths
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.segment.results import Results
from tests.clients.formats import made

CLASSES = (ClassEntry("sky", thing=False), ClassEntry("car", thing=True), ClassEntry("flying saucer"))


def written(folder: Path, ids: NDArray[np.uint16], classes: dict[int, tuple[int, bool]]) -> dict[str, Any]:
    """panoptic.json of one image whose segments are the ids of a label map, with their class and if they are things."""
    rles = encode_label_map(ids, int(ids.max()) + 1)
    segments = tuple(
        Segment(
            number,
            CLASSES[index].name,
            index,
            0.91234,
            rles[number].area,
            rles[number].bbox,
            RunLengths(ids.shape, rles[number].counts),
            is_thing=is_thing,
        )
        for number, (index, is_thing) in classes.items()
    )
    results = Results(folder, "coco", Question((), None, None, task="panoptic"), CLASSES, [], "a model")
    results.add(Source("street.jpg"), b"", made.answer(size=ids.shape, segments=segments))
    content: dict[str, Any] = json.loads((folder / "panoptic.json").read_text())
    return content


def test_the_ids_of_the_map_are_those_of_the_json(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint16)
    ids[:, 10:20], ids[:5, 20:], ids[5:, 20:] = 1, 2, 700  # more than a byte holds

    content = written(tmp_path, ids, {1: (0, False), 2: (1, True), 3: (1, True), 700: (1, True)})

    (annotation,) = content["annotations"]
    with Image.open(tmp_path / "panoptic" / annotation["file_name"]) as picture:
        assert picture.mode == "RGB"
        found = np.asarray(picture).astype(np.int64) @ [1, 256, 65536]
    assert np.array_equal(found, ids)
    assert annotation["image_id"] == content["images"][0]["id"] == 1
    # panopticapi refuses a segment without pixels: 3 is left out.
    assert {info["id"] for info in annotation["segments_info"]} == set(np.unique(found)) - {0}
    for info in annotation["segments_info"]:
        rows, columns = np.nonzero(found == info["id"])
        assert info["area"] == len(rows)
        left, top = int(columns.min()), int(rows.min())
        assert info["bbox"] == [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
        assert info["iscrowd"] == 0
    assert [info["category_id"] for info in annotation["segments_info"]] == [1, 2, 2]
