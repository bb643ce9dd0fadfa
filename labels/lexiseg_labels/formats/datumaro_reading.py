"""Datumaro's own JSON, as its tool writes it and as ours; shapes are read as Labelme's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import Size

# Annotations that mark pixels, and what Labelme calls their shapes.
KINDS = {"mask": "mask", "polygon": "polygon", "bbox": "rectangle", "polyline": "line", "points": "point"}


def items_of(content: object) -> tuple[list[dict[str, Any]], list[str]]:
    """The items of a file, and the names of its labels. Raises UnreadableLabels: it is none of Datumaro's."""
    try:
        names = [str(label["name"]) for label in content["categories"]["label"]["labels"]]  # type: ignore[index]
        items = content["items"]  # type: ignore[index]
    except (LookupError, TypeError):
        raise UnreadableLabels("no JSON of Datumaro: it has no items, or no labels") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UnreadableLabels("no JSON of Datumaro: its items are no list of objects")
    return items, names


def image_of(item: Mapping[str, Any]) -> tuple[str, object, object]:
    """The name, height and width of an item's picture; sides are None where they are not stated."""
    image = item.get("image")
    stated = image if isinstance(image, dict) else {}
    size = stated.get("size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    return str(stated.get("path") or item.get("id", "")), height, width


def shapes_of(item: Mapping[str, Any], names: Sequence[str], size: Size) -> list[dict[str, Any]]:
    """The marks on a picture of [H, W] as Labelme has them; one with unusable values lacks them."""
    entries = item.get("annotations")
    marks = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    return [_shape_of(each, names) for each in marks if each.get("type") in KINDS]


def _shape_of(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    label = entry.get("label_id")
    is_known = isinstance(label, int) and 0 <= label < len(names)
    shape = {"label": names[label] if is_known else "", "shape_type": KINDS[entry["type"]]}  # type: ignore[index]
    if group := entry.get("group"):
        shape["group_id"] = group
    try:
        if entry["type"] == "mask":
            return shape | {"segmentation": entry["rle"]}
        if entry["type"] == "bbox":
            left, top, width, height = entry["bbox"]
            return shape | {"points": [[left, top], [left + width, top + height]]}
        numbers = entry["points"]
        return shape | {"points": [*map(list, zip(numbers[::2], numbers[1::2], strict=True))]}
    except (LookupError, TypeError, ValueError):
        return shape
