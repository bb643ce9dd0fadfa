"""Photographs with outlined objects: SA-1B, and COCO's JSON from any tool. Masks are polygons or run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lexiseg_model.data.indexed import read_photograph
from lexiseg_model.data.pairs.source import StoredPair, decode, photographs_beside
from lexiseg_model.errors import DatasetError, ModelError, SampleError, ShapeError
from lexiseg_model.masks.rle import decode_spans, encode_spans
from lexiseg_model.types import Rle


class Outlined(NamedTuple):
    """A photograph [H, W, 3] with its objects as run lengths.

    `labels` are indexes into the source's classes, one for each object; empty where the source has no classes.
    """

    name: str
    image: NDArray[np.uint8]
    objects: tuple[Rle, ...]
    labels: tuple[int, ...]


class OutlineSource(Protocol):
    """Photographs with objects, by number."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the objects; empty where they have none."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Outlined:
        """One photograph; it may show no object.

        Raises:
            SampleError: it or its objects cannot be read, or their sizes differ.
        """
        ...


class CocoFile(NamedTuple):
    """A JSON in COCO's format: category names by id, images by rising id, annotations by image id."""

    categories: dict[int, str]
    images: list[dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]


def read_coco_file(listing: Path) -> CocoFile:
    """Read images, annotations and categories; groups (`iscrowd`) included.

    Raises:
        DatasetError: the file is missing or not in COCO's format.
    """
    try:
        content = json.loads(listing.read_bytes())
        categories = sorted(content["categories"], key=lambda entry: int(entry["id"]))
        annotations: dict[Any, list[dict[str, Any]]] = {}
        for entry in content["annotations"]:
            annotations.setdefault(entry["image_id"], []).append(entry)
        images = sorted(content["images"], key=lambda entry: int(entry["id"]))
        for entry in images:
            entry["size"] = (int(entry["height"]), int(entry["width"]))
            entry["file_name"] = str(entry["file_name"])
        return CocoFile({int(entry["id"]): str(entry["name"]) for entry in categories}, images, annotations)
    except OSError as error:
        raise DatasetError(f"{listing}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{listing} is not a file of COCO's instances: {error!r}") from None


class CocoInstances:
    """Photographs of one COCO JSON with their instances, groups left out."""

    def __init__(self, listing: Path) -> None:
        """List the photographs.

        Raises:
            DatasetError: the file is missing or not in COCO's format.
        """
        content = read_coco_file(listing)
        self.classes = tuple(content.categories.values())
        self._class_of = {category: index for index, category in enumerate(content.categories)}
        self._folder, self._images, self._annotations = photographs_beside(listing), content.images, content.annotations

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Outlined:
        entry = self._images[index]
        path = self._folder / entry["file_name"]
        name, size = str(path), entry["size"]
        annotations = [each for each in self._annotations.get(entry["id"], ()) if not each.get("iscrowd")]
        image = read_photograph(path)
        if image.shape[:2] != size:
            stated, actual = (f"{width} x {height}" for height, width in (size, image.shape[:2]))
            raise SampleError(name, f"is {actual}; its JSON states {stated}")
        unknown = {label for each in annotations if (label := each.get("category_id")) not in self._class_of}
        if unknown:
            raise SampleError(name, f"its objects have the unknown categories {sorted(map(str, unknown))}")
        labels = tuple(self._class_of[each["category_id"]] for each in annotations)
        return Outlined(name, image, _read_objects(name, annotations, size), labels)


class Sa1b:
    """SA-1B: every `NAME.jpg` below a folder that has a `NAME.json` beside it; objects have no names."""

    classes: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """List the photographs.

        Raises:
            DatasetError: there is none.
        """
        self._images = [path for path in sorted(folder.rglob("*.jpg")) if path.with_suffix(".json").exists()]
        if not self._images:
            raise DatasetError(f"{folder} holds no NAME.jpg with NAME.json beside it, as SA-1B has them")

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Outlined:
        path = self._images[index]
        name = str(path)
        try:
            entries = json.loads(path.with_suffix(".json").read_bytes())["annotations"]
            photograph = path.read_bytes()
        except OSError as error:
            raise SampleError(name, f"cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise SampleError(name, f"its JSON is not SA-1B's: {error!r}") from None
        image = decode(StoredPair(name, photograph, ()))
        return Outlined(name, image, _read_objects(name, entries, (image.shape[0], image.shape[1])), ())


def read_segmentation(segmentation: object, size: tuple[int, int]) -> Rle:
    """Run lengths of one `segmentation`, with area and box.

    Args:
        segmentation: {"size", "counts"} with counts as text or as numbers, or a list of polygons [x, y, ...].
        size: (H, W) of the photograph.

    Raises:
        DatasetError: malformed, or of another size.
    """
    height, width = size
    try:
        if isinstance(segmentation, dict):
            stated_height, stated_width = (int(side) for side in segmentation["size"])
            if (stated_height, stated_width) != size:
                raise DatasetError(f"a mask of {stated_width} x {stated_height}, its photograph {width} x {height}")
            counts = segmentation["counts"]
            if isinstance(counts, str):
                return encode_spans(decode_spans(Rle(size, counts, 0, (0, 0, 0, 0))), size)
            if sum(counts) != height * width or min(counts) < 0:
                raise DatasetError(f"runs that sum to {sum(counts)}, not {height * width}")
            packed = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        elif isinstance(segmentation, list) and segmentation:
            for ring in segmentation:
                if len(ring) < 6 or len(ring) % 2:
                    raise DatasetError(f"a polygon of {len(ring)} coordinates; expected x, y of at least three corners")
            packed = coco.merge(coco.frPyObjects(segmentation, height, width))
        else:
            raise DatasetError(f"a mask that is neither run lengths nor polygons: {segmentation!r:.60}")
    except (ShapeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"a mask that cannot be read: {error}") from None
    left, top, box_width, box_height = (int(side) for side in coco.toBbox(packed))
    return Rle(size, packed["counts"].decode(), int(coco.area(packed)), (left, top, box_width, box_height))


def _read_objects(name: str, entries: Sequence[Any], size: tuple[int, int]) -> tuple[Rle, ...]:
    """The masks of a photograph's annotations.

    Raises:
        SampleError: one cannot be read.
    """
    try:
        return tuple(read_segmentation(entry["segmentation"], size) for entry in entries)
    except (ModelError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SampleError(name, f"its objects cannot be read: {reason}") from None
