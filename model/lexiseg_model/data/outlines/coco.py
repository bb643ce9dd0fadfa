"""Instances in COCO's JSON, the official files or a user's own: images, annotations, categories of any ids."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_model.data.annotated import read_photograph
from lexiseg_model.data.outlines.coco_masks import read_objects
from lexiseg_model.data.outlines.source import Outlined
from lexiseg_model.errors import DatasetError, SampleError


class _Entry(NamedTuple):
    """A photograph with its annotations, groups left out."""

    image: Path
    size: tuple[int, int]
    annotations: list[dict[str, Any]]


class CocoInstances:
    """The photographs of one JSON, those without an object as well."""

    def __init__(self, listing: Path, photographs: Path | None = None) -> None:
        """
        Args:
            listing: as `annotations/instances_train2017.json`.
            photographs: their folder; by default `train2017` beside `annotations`, else the listing's own.

        Raises:
            DatasetError: the file is missing or no such JSON.
        """
        try:
            content = json.loads(listing.read_bytes())
            beside = listing.parent.parent / listing.stem.rpartition("_")[2]
            folder = photographs or (beside if beside.is_dir() else listing.parent)
            categories = sorted(content["categories"], key=lambda entry: int(entry["id"]))
            self.classes = tuple(str(entry["name"]) for entry in categories)
            self._class_of = {int(entry["id"]): index for index, entry in enumerate(categories)}
            objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for annotation in content["annotations"]:
                if not annotation.get("iscrowd"):
                    objects[annotation["image_id"]].append(annotation)
            self._entries = [
                _Entry(folder / entry["file_name"], (int(entry["height"]), int(entry["width"])), objects[entry["id"]])
                for entry in sorted(content["images"], key=lambda entry: int(entry["id"]))
            ]
        except OSError as error:
            raise DatasetError(f"{listing}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{listing} is not a file of COCO's instances: {error!r}") from None

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int) -> Outlined:
        entry = self._entries[index]
        name = str(entry.image)
        try:
            image = read_photograph(entry.image)
        except DatasetError as error:
            raise SampleError(name, str(error)) from None
        if image.shape[:2] != entry.size:
            told, is_ = (f"{width} x {height}" for height, width in (entry.size, image.shape[:2]))
            raise SampleError(name, f"is {is_}; its JSON says {told}")
        unknown = {label for each in entry.annotations if (label := each.get("category_id")) not in self._class_of}
        if unknown:
            raise SampleError(name, f"its objects are of the unknown categories {sorted(map(str, unknown))}")
        labels = tuple(self._class_of[each["category_id"]] for each in entry.annotations)
        return Outlined(name, image, read_objects(name, entry.annotations, entry.size), labels)
