"""COCO's JSON as tools write it: the only reader of the format.

Tools deviate from COCO. Ids are text on one side and numbers on the other. CVAT marks every painted mask as a crowd,
and writes `attributes`, which COCO does not have. Label Studio and FiftyOne write boxes without an outline. Some write
an image once for each of its annotations, or an annotation twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations.content import (
    CocoAnnotation,
    CocoFile,
    CocoImage,
    Id,
    class_name,
    images_left_out,
    not_read,
    unknown,
    unknown_pixels,
)
from lexiseg_train.data.annotations.segmentation import (
    Segmentation,
    box_outline,
    checked_box,
    checked_segmentation,
    is_blank,
    whole_number,
)
from lexiseg_train.data.annotations.sizes import SizeOf, stated_size
from lexiseg_train.data.files.documents import LimitError, mentions, read_json
from lexiseg_train.data.files.limits import PUBLISHED_JSON, JsonLimits

LISTS = ("images", "annotations", "categories")


def id_order(identity: Id) -> tuple[bool, int, str]:
    """Key that sorts ids: numbers before text."""
    return (True, 0, identity) if isinstance(identity, str) else (False, identity, "")


def is_coco(path: Path) -> bool:
    """Whether a file is JSON with the lists of COCO."""
    try:
        if not mentions(path, *LISTS):
            return False
        content = read_json(path)
    except DatasetError:
        return False
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in LISTS)


def is_panoptic(path: Path) -> bool:
    """Whether a file of COCO's lists has segments in PNG files in place of outlines."""
    entries = read_json(path)["annotations"][:1]
    return any(isinstance(entry, dict) and "segments_info" in entry for entry in entries)


def read_coco_file(
    listing: Path,
    categories: Collection[int] | None = None,
    size_of: SizeOf = stated_size,
    limits: JsonLimits = PUBLISHED_JSON,
) -> CocoFile:
    """Read a file of instances; an image that cannot be used is left out, counted and named.

    So is an annotation: pixels of its box are unknown, without a box all that no other annotation explains.

    Args:
        listing: the file.
        categories: ids that a public set has; None: those of the file.
        size_of: (H, W) of a photograph by its name and what the file states.
        limits: of the file.

    Raises:
        DatasetError: the file is missing or not of COCO's instances, none of its images can be used, two images or
            categories share an id, or a category is none of `categories`.
    """
    content = _lists(listing, limits, needs_categories=categories is None)
    try:
        names = _categories(content["categories"])
        if categories is not None:
            names = {category: names.get(category) or str(category) for category in categories}
        images, unusable, image_faults = _images(content["images"], size_of)
    except (DatasetError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DatasetError(as_text(f"{listing} is not a file of COCO's instances: {reason}")) from None
    if len(content["annotations"]) > limits.n_annotations:
        raise LimitError(f"{listing} has more than {limits.n_annotations:,} annotations, the most that is read")
    entries, repeats = _without_repeats(content["annotations"])
    entries = [entry for entry in entries if _id_or_none(entry.get("image_id")) not in unusable]
    if categories is not None:
        _refuse_unknown(listing, entries, names)
    all_groups = bool(entries) and all(_is_group(entry) for entry in entries)
    faults, n_boxes = _place(entries, images, names, all_groups)
    n_annotations = len(content["annotations"])
    warnings = images_left_out(listing, len(content["images"]), image_faults)
    warnings += not_read(listing, n_annotations, faults, n_boxes)
    warnings += _deviations(listing, n_annotations, repeats, all_groups)
    unique = {image.file_name: image for image in images.values()}
    n_groups = 0 if all_groups else sum(map(_is_group, entries))
    named = {category: name for category, name in names.items() if name is not None}
    return CocoFile(named, list(unique.values()), n_groups, warnings, tuple(map(as_text, image_faults)))


def _place(
    entries: Sequence[dict[str, Any]],
    images: Mapping[Id | None, CocoImage],
    names: Mapping[Id, str | None],
    all_groups: bool,
) -> tuple[list[str], int]:
    """Give the images their annotations; returns why others are unusable, and the number without an outline.

    An annotation of no image may be of any that has none.
    """
    faults: list[str] = []
    lost: list[dict[str, Any]] = []
    n_boxes = 0
    for entry in entries:
        image = images.get(_id_or_none(entry.get("image_id")))
        try:
            if image is None:
                raise DatasetError(f"no image has the id {entry.get('image_id')!r:.40}")
            image.annotations.append(_annotation(entry, names, image.size, _is_group(entry) and not all_groups))
            n_boxes += not _has_outline(entry)
        except DatasetError as error:
            of_image = "" if image is None else f" of {image.file_name}"
            faults.append(f"annotation {entry.get('id', '(without an id)')!s:.40}{of_image}: {error}")
            if image is None:
                lost.append(entry)
            else:
                image.annotations.append(_unknown(entry, image.size))
    for image in images.values():
        if len(images) == 1:
            image.annotations.extend(_unknown(entry, image.size) for entry in lost)
        elif lost and not image.annotations:
            image.annotations.append(unknown_pixels(image.size))
    return faults, n_boxes


def _refuse_unknown(listing: Path, entries: Sequence[dict[str, Any]], names: Collection[Id]) -> None:
    """Raise DatasetError: an annotation of a public set has none of its categories, so it is another set."""
    for entry in entries:
        category = _id_or_none(entry.get("category_id"))
        if category is not None and category not in names:
            raise DatasetError(f"{listing}: unknown category {category}; expected one of the {len(names)} of the set")


def _lists(listing: Path, limits: JsonLimits, needs_categories: bool) -> dict[str, list[dict[str, Any]]]:
    """The lists of a file, of objects. Raises DatasetError: it lacks one of them."""
    content = read_json(listing, limits)
    if isinstance(content, dict) and not needs_categories:
        content.setdefault("categories", [])
    for name in LISTS:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DatasetError(f"{listing} is not a file of COCO's instances: it has no list of {name}")
    if any("segments_info" in entry for entry in content["annotations"][:1]):
        raise DatasetError(f"{listing} is COCO's panoptic format; expected instances, with `segmentation`")
    return {name: content[name] for name in LISTS}


def _id(value: object) -> Id:
    """An id, equal for the number 7 and the text "7". Raises DatasetError: it is neither text nor a whole number."""
    try:
        return whole_number(value)
    except ValueError:
        if isinstance(value, str) and value:
            return value
        raise DatasetError(f"an id of {value!r:.40}; expected a whole number or text") from None


def _id_or_none(value: object) -> Id | None:
    try:
        return _id(value)
    except DatasetError:
        return None


def _categories(entries: Sequence[dict[str, Any]]) -> dict[Id, str | None]:
    """Names by id as `class_name` gives them. Raises DatasetError: two names share an id."""
    names: dict[Id, str | None] = {}
    for entry in entries:
        category, name = _id(entry["id"]), None if entry["name"] is None else class_name(entry["name"]) or None
        if names.setdefault(category, name) != name:
            raise DatasetError(f"two categories have the id {category}: {names[category]!r} and {name!r}")
    return names


def _images(
    entries: Sequence[dict[str, Any]], size_of: SizeOf
) -> tuple[dict[Id | None, CocoImage], Collection[Id], list[str]]:
    """Images by id; those of one file are one image. Also the ids of unusable ones, and why they are unusable.

    Raises:
        DatasetError: two files share an id, or no image is usable.
    """
    images: dict[Id, CocoImage] = {}
    by_name: dict[str, CocoImage] = {}
    unusable: dict[Id, str] = {}
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        identity = _id_or_none(entry.get("id"))
        name = f"number {number}"
        try:
            name = _image_name(entry)
            image = CocoImage(name, size_of(name, entry.get("height"), entry.get("width")), [])
            identity = _id(entry.get("id"))
        except DatasetError as error:
            faults.append(f"image {name}: {error}")
            if identity is not None:
                unusable[identity] = name
            continue
        if by_name.setdefault(name, image).size != image.size:
            raise DatasetError(f"two images are called {name}, of different sizes")
        _refuse_shared(identity, name, images.setdefault(identity, by_name[name]).file_name)
    for identity in unusable.keys() & images.keys():
        _refuse_shared(identity, unusable[identity], images[identity].file_name)
    if faults and not images:
        raise DatasetError(faults[0])
    ordered: dict[Id | None, CocoImage] = {identity: images[identity] for identity in sorted(images, key=id_order)}
    return ordered, unusable.keys() - images.keys(), faults


def _image_name(entry: dict[str, Any]) -> str:
    """The file of an image; LVIS states addresses alone, and mixes the splits of COCO. Raises DatasetError: no name."""
    if entry.get("file_name"):
        return str(entry["file_name"])
    if not entry.get("coco_url"):
        raise DatasetError("no file_name")
    return "/".join(str(entry["coco_url"]).split("/")[-2:])


def _refuse_shared(identity: Id, name: str, other: str) -> None:
    """Raise DatasetError: two files have one id, so that an annotation may belong to either."""
    if name != other:
        raise DatasetError(f"two images have the id {identity}: {other} and {name}")


def _without_repeats(entries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Annotations without those that are written twice under one id, and the number of these."""
    kept: list[dict[str, Any]] = []
    by_id: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if "id" not in entry or by_id.setdefault(str(entry["id"]), entry) is entry or by_id[str(entry["id"])] != entry:
            kept.append(entry)
    return kept, len(entries) - len(kept)


def _annotation(
    entry: dict[str, Any], names: Mapping[Id, str | None], size: tuple[int, int], group: bool
) -> CocoAnnotation:
    """Raises DatasetError: it has neither an outline nor a box, or a number in it is unusable."""
    if "category_id" not in entry:
        raise DatasetError("no category_id")
    category = _id(entry["category_id"])
    if category not in names:
        raise DatasetError(f"no category has the id {category!r}")
    known = None if names[category] is None else category
    if _has_outline(entry):
        outline = checked_segmentation(entry["segmentation"], size)
        if is_blank(outline, size) and (isinstance(outline, list) or _box_or_none(entry, size)):
            raise DatasetError("a mask without a pixel")
        ignored = group or known is None or _is_set(entry.get("ignore"))
        return CocoAnnotation(known, outline, ignored, _stated_area(entry))
    if not entry.get("bbox"):
        raise DatasetError("neither an outline (segmentation) nor a box (bbox)")
    return CocoAnnotation(known, box_outline(checked_box(entry["bbox"]), size), True)


def _unknown(entry: dict[str, Any], size: tuple[int, int]) -> CocoAnnotation:
    """What an unusable annotation makes unknown: its outline if only the category is unusable, its box, or all."""
    try:
        outline = checked_segmentation(entry.get("segmentation"), size)
        if not is_blank(outline, size):
            return unknown(outline)
    except DatasetError:
        pass
    box = _box_or_none(entry, size)
    return unknown_pixels(size) if box is None else unknown(box)


def _box_or_none(entry: dict[str, Any], size: tuple[int, int]) -> Segmentation | None:
    """The outline of a stated box; None: there is none, or it is unusable."""
    try:
        return box_outline(checked_box(entry.get("bbox")), size)
    except DatasetError:
        return None


def _has_outline(entry: dict[str, Any]) -> bool:
    segmentation = entry.get("segmentation")
    return bool(any(segmentation) if isinstance(segmentation, list) else segmentation)


def _stated_area(entry: dict[str, Any]) -> float | None:
    try:
        area = float(entry["area"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return area if 0 < area < float("inf") else None


def _is_group(entry: dict[str, Any]) -> bool:
    """Whether an annotation shows several objects; CVAT, which writes `attributes`, calls every painted mask so."""
    return _is_set(entry.get("iscrowd")) and "attributes" not in entry


def _is_set(flag: object) -> bool:
    return flag not in (None, 0, "0", False)


def _deviations(listing: Path, n_annotations: int, repeats: int, all_groups: bool) -> tuple[str, ...]:
    """Sentences about annotations that are read otherwise than they are written."""
    of = f"of {n_annotations} annotations in {listing}"
    warnings = []
    if repeats:
        warnings.append(f"{repeats} {of} are repeats of others, and count once")
    if all_groups:
        warnings.append(f"all {of} are crowds (iscrowd), as some tools call every mask: they count as single objects")
    return tuple(warnings)
