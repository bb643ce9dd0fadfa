"""Datumaro's own JSON: masks as run lengths, labels by number, and the pictures with it.

Shapes that are read are handed over as `marks` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_of
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed, box_corners, ellipse, points_in, reviewed_mark, shape_reader, turned
from lexiseg_labels.json_text import SCORE_DECIMALS, json_file, rounded
from lexiseg_labels.masks.outlines import Size
from lexiseg_labels.segments import drawing_order, run_lengths

ANNOTATIONS, IMAGES = "annotations/default.json", "images/default"
NO_MARK = frozenset({"label", "caption", "hash_key", "feature_vector", "tabular", "depth_annotation",
                     "super_resolution_annotation"})  # fmt: skip
LABELME_KINDS = {"cuboid_2d": "cuboid", "polyline": "line"}
ROTATED_BOX = ("cx", "cy", "w", "h", "r")


def _shared(data: DataSet) -> Iterator[File]:
    labels = [{"name": name, "parent": "", "attributes": []} for name in data.categories]
    members = {
        "info": {"description": "lexiseg"},
        "categories": {"label": {"labels": labels, "attributes": []}},
        "items": (_item(picture, data) for picture in data.pictures()),
    }
    yield ANNOTATIONS, json_file(members)


def _item(picture: Picture, data: DataSet) -> dict[str, Any]:
    annotations = [
        {
            "id": number,
            "type": "mask",
            "attributes": {"score": rounded(segment.score, SCORE_DECIMALS)},
            "group": number,
            "label_id": category_of(segment, data.classes),
            "rle": run_lengths(segment),
            "z_order": number,
        }
        for number, segment in enumerate(drawing_order(picture.segments), 1)
    ]
    image = {"path": picture.file_name, "size": list(picture.size)}
    marks = {} if picture.reviewed is None else {"reviewed": picture.reviewed}
    return {"id": picture.name, "annotations": annotations, "attr": marks, "image": image}


def pictures_of(content: object) -> Iterator[Listed]:
    """The pictures of a file. Raises UnreadableLabels: it is none of Datumaro's."""
    try:
        names = [str(label["name"]) for label in content["categories"]["label"]["labels"]]  # type: ignore[index]
        items = content["items"]  # type: ignore[index]
    except (LookupError, TypeError):
        raise UnreadableLabels("no JSON of Datumaro: it has no items, or no labels") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UnreadableLabels("no JSON of Datumaro: its items are no list of objects")
    return (_picture_of(item, names) for item in items)


def _picture_of(item: Mapping[str, Any], names: Sequence[str]) -> Listed:
    image = item.get("image")
    stated = image if isinstance(image, dict) else {}
    size = stated.get("size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    name = str(stated.get("path") or item.get("id", ""))
    return Listed(name, height, width, shape_reader(partial(_shapes_of, item, names)), reviewed_mark(item.get("attr")))


def _shapes_of(item: Mapping[str, Any], names: Sequence[str], size: Size) -> list[Any]:
    """The shapes of a picture; one of an unknown kind, or with unusable values, has the points it states."""
    entries = item.get("annotations")
    marks = entries if isinstance(entries, list) else []
    return [
        _shape_of(each, names) for each in marks if not isinstance(each, dict) or str(each.get("type")) not in NO_MARK
    ]


def _shape_of(entry: Any, names: Sequence[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    label, kind = entry.get("label_id"), str(entry.get("type"))
    is_known = isinstance(label, int) and 0 <= label < len(names)
    shape = {
        "label": names[label] if is_known else "",  # type: ignore[index]
        "shape_type": LABELME_KINDS.get(kind, kind),
        "z_order": entry.get("z_order"),
        "points": points_in(entry),
    }
    if group := entry.get("group"):
        shape["group_id"] = group
    try:
        return shape | _outline_of(kind, entry)
    except (LookupError, OverflowError, TypeError, ValueError):
        return shape


def _outline_of(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "mask":
        return {"segmentation": entry["rle"]}
    if kind == "bbox":
        left, top, width, height = entry["bbox"]
        return {"shape_type": "rectangle", "points": [[left, top], [left + width, top + height]]}
    if kind == "ellipse":
        left, top, right, bottom = entry["points"]
        x, y, across, down = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
        return {"shape_type": "polygon", "points": ellipse(x, y, across, down)}
    if kind == "rotated_bbox":
        x, y, width, height, degrees = entry.get("points") or [entry[key] for key in ROTATED_BOX]
        corners = box_corners(x - width / 2, y - height / 2, width, height)
        return {"shape_type": "rotation", "points": turned(corners, (x, y), degrees)}
    return {}


FORMAT = Format(
    "datumaro",
    f"{IMAGES}/ and {ANNOTATIONS}",
    shared=_shared,
    images=IMAGES,
    listing=ANNOTATIONS,
    marks_reviewed=True,
    pictures_of=pictures_of,
    title="Datumaro",
)
