"""Photographs with outlined objects: SA-1B, and COCO's JSON from any tool. Masks are polygons or run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools import mask as coco

from lexiseg_model.data.indexed import read_photograph
from lexiseg_model.data.pairs.source import photographs_beside
from lexiseg_model.data.scenes import Scene
from lexiseg_model.errors import DatasetError, ModelError, SampleError, ShapeError
from lexiseg_model.masks.rle import decode_spans, encode_spans
from lexiseg_model.types import Rle


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


def outlined_scenes(place: Path) -> list[Scene[tuple[Rle, ...]]]:
    """Photographs with the outlines of their objects; a photograph may show none.

    Args:
        place: a JSON in COCO's format, whose groups are left out, or a folder of SA-1B: every `NAME.jpg` with
            `NAME.json` beside it.

    Returns:
        Scenes whose readers raise SampleError.

    Raises:
        DatasetError: the JSON is missing or not in COCO's format, or the folder has no such photograph.
    """
    if place.suffix == ".json":
        content, folder = read_coco_file(place), photographs_beside(place)
        return [_coco_scene(folder / image["file_name"], image, content) for image in content.images]
    images = [path for path in sorted(place.rglob("*.jpg")) if path.with_suffix(".json").exists()]
    if not images:
        raise DatasetError(f"{place} holds no NAME.jpg with NAME.json beside it, as SA-1B has them")
    return [Scene(str(path), partial(read_photograph, path), partial(_sa1b_objects, path)) for path in images]


def _coco_scene(path: Path, image: dict[str, Any], content: CocoFile) -> Scene[tuple[Rle, ...]]:
    annotations = [each for each in content.annotations.get(image["id"], ()) if not each.get("iscrowd")]
    objects = partial(_read_objects, str(path), annotations, image["size"])
    return Scene(str(path), partial(read_photograph, path), objects)


def _sa1b_objects(path: Path) -> tuple[Rle, ...]:
    """Objects of a photograph of SA-1B. Raises SampleError: its JSON is missing or not SA-1B's."""
    try:
        content = json.loads(path.with_suffix(".json").read_bytes())
        size = (int(content["image"]["height"]), int(content["image"]["width"]))
        entries = list(content["annotations"])
    except OSError as error:
        raise SampleError(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SampleError(str(path), f"its JSON is not SA-1B's: {error!r}") from None
    return _read_objects(str(path), entries, size)


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
    """The masks of a photograph's annotations. Raises SampleError: one cannot be read."""
    try:
        return tuple(read_segmentation(entry["segmentation"], size) for entry in entries)
    except (ModelError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SampleError(name, f"its objects cannot be read: {reason}") from None
