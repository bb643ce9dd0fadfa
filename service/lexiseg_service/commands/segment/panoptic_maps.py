"""Panoptic segments as panopticapi reads them: panoptic.json, and beside it the folder panoptic/ of PNG maps.

A map's pixel holds the id of its segment as R + 256 G + 65536 B, 0 for nobody; ids count within one image
(cocodataset/panopticapi, `utils.py`). Without a folder named, panopticapi looks for one of the JSON's own name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexiseg_model.masks.overlay import colour
from lexiseg_model.masks.png import to_png
from lexiseg_model.masks.rle import decode
from lexiseg_model.types import ClassEntry, Segment
from lexiseg_service.commands.segment.earlier import write_json

NAME = "panoptic"


class PanopticMaps:
    """The maps and the JSON of many images; categories are the classes, from 1."""

    def __init__(self, folder: Path, classes: Sequence[ClassEntry]) -> None:
        self._folder = folder
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._names = [entry.name for entry in classes]
        # A class of which nobody knows counts as a thing, as in the answers; these have the last word.
        self._things = [entry.thing is not False for entry in classes]

    def path(self, name: str) -> Path:
        """Where the map of that name is written."""
        return self._folder / NAME / name

    def add(self, image: dict[str, Any], name: str, segments: Sequence[Segment]) -> None:
        """One image's disjoint segments, each of a class; its map is written at once.

        Args:
            image: `id`, `height` and `width`, and what else shall stand in the JSON.
            name: of the map's file.
            segments: of the task panoptic.
        """
        size = (image["height"], image["width"])
        pixels = np.zeros((*size, 3), np.uint8)
        for segment in segments:
            assert segment.class_index is not None
            self._things[segment.class_index] = segment.is_thing is not False
            pixels[decode(segment.mask)] = (segment.id % 256, segment.id // 256, 0)  # ids have 16 bits
        self.path(name).parent.mkdir(exist_ok=True)
        self.path(name).write_bytes(to_png(pixels))
        self._images.append(image)
        self._annotations.append(
            {
                "image_id": image["id"],
                "file_name": name,
                # panopticapi refuses a segment without pixels.
                "segments_info": [_info(segment) for segment in segments if segment.area],
            }
        )

    def go_on(self) -> None:
        """Reads back what `write` wrote."""
        content = json.loads((self._folder / f"{NAME}.json").read_text())
        self._images, self._annotations = content["images"], content["annotations"]
        self._things = [bool(category["isthing"]) for category in content["categories"]]

    def write(self) -> None:
        """Writes panoptic.json."""
        categories = [
            {"id": index + 1, "name": name, "supercategory": name, "isthing": int(thing), "color": list(colour(index))}
            for index, (name, thing) in enumerate(zip(self._names, self._things, strict=True))
        ]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        write_json(self._folder / f"{NAME}.json", content)


def _info(segment: Segment) -> dict[str, Any]:
    assert segment.class_index is not None
    return {
        "id": segment.id,
        "category_id": segment.class_index + 1,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": 0,
        "score": round(segment.score, 4),
    }
