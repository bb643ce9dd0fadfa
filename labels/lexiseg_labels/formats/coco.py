"""COCO's instances: run lengths in one JSON file with the pictures, and the files of other tools.

Keys have the order of this module, as the playground's writer; ids count from 1 in the order of the pictures.

Tools deviate from COCO. Ids are text on one side and numbers on the other. CVAT marks every painted mask as a crowd,
and writes `attributes`, which COCO does not have. Label Studio and FiftyOne write boxes without an outline. Some write
an image once for each of its annotations, or an annotation twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from lexiseg_labels.annotations import AnnotatedImage, Annotation, ClassName, Id, IsBlank, unknown, unknown_pixels
from lexiseg_labels.data_set import DataSet, File, Format, category_of
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import reviewed_mark
from lexiseg_labels.json_text import SCORE_DECIMALS, json_file, rounded
from lexiseg_labels.masks.outlines import Outline, Size, box_outline, checked_box, checked_outline, whole_number
from lexiseg_labels.segments import Segment, run_lengths, without_doubtful

# The layout of a data set: one subset, and pictures; `file_name` is their path in IMAGES.
ANNOTATIONS = "annotations/instances_default.json"
IMAGES = "images"
LISTS = ("images", "annotations", "categories")
Entry: TypeAlias = "dict[str, Any]"
# (H, W) of a picture by its name and the height and width that its entry states. Raises UnreadableLabels: unusable.
SizeOf: TypeAlias = "Callable[[str, object, object], Size]"


def annotations_of(segments: Sequence[Segment], image_id: int) -> list[dict[str, Any]]:
    """See `Segmentation.to_coco`: of one answer, where classes have names and no categories."""
    return [
        _annotation(segment, segment.id, image_id, category, _shape(segment))
        | {"category_name": segment.label, "score": segment.score, **prompt_fields(segment)}
        for segment in without_doubtful(segments)
        for category in [0 if segment.class_index is None else 1 + segment.class_index]
    ]


def _annotation(segment: Segment, number: int, image_id: int, category: int, shape: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": shape,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": 0,
    }


def prompt_fields(segment: Segment) -> dict[str, Any]:
    """Extra fields of a prompted segment; empty for other tasks."""
    if segment.prompt_index is None:
        return {}
    return {"prompt_index": segment.prompt_index, "mask_index": segment.mask_index, "quality": segment.quality}


def _shape(segment: Segment) -> Any:
    """Polygons, if the answer has them and none has holes, which COCO's cannot have; else run lengths."""
    if segment.polygons is None or any(ring.holes for ring in segment.polygons):
        return run_lengths(segment)
    return [ring.exterior.reshape(-1).tolist() for ring in segment.polygons]


def _shared(data: DataSet) -> Iterator[File]:
    members = {
        "info": {"description": "lexiseg"},
        "categories": [{"id": number, "name": name} for number, name in enumerate(data.categories, 1)],
        "images": _images(data),
        "annotations": _annotations(data),
    }
    yield ANNOTATIONS, json_file(members)


def _images(data: DataSet) -> Iterator[dict[str, Any]]:
    for number, picture in enumerate(data.pictures(), 1):
        height, width = picture.size
        entry = {"id": number, "file_name": picture.file_name, "height": height, "width": width}
        marks = {} if picture.reviewed is None else {"reviewed": picture.reviewed}
        yield entry | ({"source": picture.source} if picture.source else {}) | marks


def _annotations(data: DataSet) -> Iterator[dict[str, Any]]:
    n_annotations = 0
    for number, picture in enumerate(data.pictures(), 1):
        for segment in without_doubtful(picture.segments):
            n_annotations += 1
            category = 1 + category_of(segment, data.classes)
            quality = None if segment.quality is None else rounded(segment.quality, SCORE_DECIMALS)
            yield {
                **_annotation(segment, n_annotations, number, category, run_lengths(segment)),
                "score": rounded(segment.score, SCORE_DECIMALS),
                **prompt_fields(replace(segment, quality=quality)),
                **({} if segment.track_id is None else {"track_id": segment.track_id}),
            }


class Images(NamedTuple):
    """Images by rising id, the ones of one file as one image; ids of only unusable ones, and why they are unusable."""

    by_id: dict[Id, AnnotatedImage]
    unusable: Collection[Id]
    faults: list[str]


class Placed(NamedTuple):
    """Why annotations are unusable; numbers of the ones without an outline, and of groups; whether all were groups."""

    faults: list[str]
    n_boxes: int
    n_groups: int
    all_groups: bool


def lists_of(content: object, needs_categories: bool = True) -> dict[str, list[Entry]]:
    """The lists of a file, of objects. Raises UnreadableLabels: it lacks one of them."""
    if isinstance(content, dict) and not needs_categories:
        content.setdefault("categories", [])
    lists: dict[str, list[Entry]] = {}
    for name in LISTS:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UnreadableLabels(f"it has no list of {name}")
        lists[name] = entries
    return lists


def is_panoptic(annotations: Sequence[object]) -> bool:
    """Whether the annotations of a file have segments in PNG files in place of outlines."""
    return any(isinstance(entry, dict) and "segments_info" in entry for entry in annotations[:1])


def id_order(identity: Id) -> tuple[bool, int, str]:
    """Key that sorts ids: numbers before text."""
    return (True, 0, identity) if isinstance(identity, str) else (False, identity, "")


def categories_of(entries: Sequence[Entry], class_name: ClassName) -> dict[Id, str | None]:
    """Names of categories by id; None: any class."""
    names: dict[Id, str | None] = {}
    for entry in entries:
        category, name = _id(entry["id"]), None if entry["name"] is None else class_name(entry["name"]) or None
        if names.setdefault(category, name) != name:
            raise UnreadableLabels(f"two categories have the id {category}: {names[category]!r} and {name!r}")
    return names


def images_of(entries: Sequence[Entry], size_of: SizeOf) -> Images:
    """The images of a file, yet without annotations."""
    images: dict[Id, AnnotatedImage] = {}
    by_name: dict[str, AnnotatedImage] = {}
    unusable: dict[Id, str] = {}
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        identity = id_or_none(entry.get("id"))
        name = f"number {number}"
        try:
            name = _image_name(entry)
            size = size_of(name, entry.get("height"), entry.get("width"))
            image = AnnotatedImage(name, size, [], reviewed_mark(entry))
            identity = _id(entry.get("id"))
        except UnreadableLabels as error:
            faults.append(f"image {name}: {error}")
            if identity is not None:
                unusable[identity] = name
            continue
        if by_name.setdefault(name, image).size != image.size:
            raise UnreadableLabels(f"two images are called {name}, of different sizes")
        _refuse_shared(identity, name, images.setdefault(identity, by_name[name]).file_name)
    for identity in unusable.keys() & images.keys():
        _refuse_shared(identity, unusable[identity], images[identity].file_name)
    if faults and not images:
        raise UnreadableLabels(faults[0])
    ordered = {identity: images[identity] for identity in sorted(images, key=id_order)}
    return Images(ordered, unusable.keys() - images.keys(), faults)


def _image_name(entry: Entry) -> str:
    """The file of an image; LVIS states only addresses, and mixes splits of COCO. Raises UnreadableLabels: none."""
    if entry.get("file_name"):
        return str(entry["file_name"])
    if not entry.get("coco_url"):
        raise UnreadableLabels("no file_name")
    return "/".join(str(entry["coco_url"]).split("/")[-2:])


def _refuse_shared(identity: Id, name: str, other: str) -> None:
    """Raise UnreadableLabels: two files have one id, so that an annotation may belong to either."""
    if name != other:
        raise UnreadableLabels(f"two images have the id {identity}: {other} and {name}")


def usable(entries: Sequence[Entry], images: Images) -> tuple[list[Entry], int]:
    """Annotations of usable images, without captions and repeats under one id, and the number of these repeats."""
    entries = [entry for entry in entries if "caption" not in entry or "category_id" in entry]  # captions mark nothing
    distinct: list[Entry] = []
    by_id: dict[str, Entry] = {}
    for entry in entries:
        if "id" not in entry or by_id.setdefault(str(entry["id"]), entry) is entry or by_id[str(entry["id"])] != entry:
            distinct.append(entry)
    of_usable = [entry for entry in distinct if id_or_none(entry.get("image_id")) not in images.unusable]
    return of_usable, len(entries) - len(distinct)


def place(
    entries: Sequence[Entry], images: Mapping[Id, AnnotatedImage], names: Mapping[Id, str | None], is_blank: IsBlank
) -> Placed:
    """Give the images their annotations. One that is unusable makes pixels unknown: of its box, or all.

    An annotation of no image may be of any that has none. Where all are groups, as some tools call every mask, they are
    single objects.
    """
    all_groups = bool(entries) and all(map(_is_group, entries))
    faults: list[str] = []
    unusable: list[Entry] = []
    n_boxes = 0
    for entry in entries:
        identity = id_or_none(entry.get("image_id"))
        image = None if identity is None else images.get(identity)
        try:
            if image is None:
                raise UnreadableLabels(f"no image has the id {entry.get('image_id')!r:.40}")
            group = _is_group(entry) and not all_groups
            image.annotations.append(_read_annotation(entry, names, image.size, group, is_blank))
            n_boxes += not _has_outline(entry)
        except UnreadableLabels as error:
            of_image = "" if image is None else f" of {image.file_name}"
            faults.append(f"annotation {entry.get('id', '(without an id)')!s:.40}{of_image}: {error}")
            if image is None:
                unusable.append(entry)
            else:
                image.annotations.append(_unknown(entry, image.size, is_blank))
    for image in images.values():
        if len(images) == 1:
            image.annotations.extend(_unknown(entry, image.size, is_blank) for entry in unusable)
        elif unusable and not image.annotations:
            image.annotations.append(unknown_pixels(image.size))
    n_groups = 0 if all_groups else sum(map(_is_group, entries))
    return Placed(faults, n_boxes, n_groups, all_groups)


def _read_annotation(
    entry: Entry, names: Mapping[Id, str | None], size: Size, group: bool, is_blank: IsBlank
) -> Annotation:
    if "category_id" not in entry:
        raise UnreadableLabels("no category_id")
    category = _id(entry["category_id"])
    if category not in names:
        raise UnreadableLabels(f"no category has the id {category!r}")
    class_id = None if names[category] is None else category
    if _has_outline(entry):
        outline = checked_outline(entry["segmentation"], size)
        if is_blank(outline, size) and (isinstance(outline, list) or _box_or_none(entry, size)):
            raise UnreadableLabels("a mask without a pixel")
        ignored = group or class_id is None or _is_set(entry.get("ignore"))
        return Annotation(class_id, outline, ignored, _stated_area(entry))
    if not entry.get("bbox"):
        raise UnreadableLabels("neither an outline (segmentation) nor a box (bbox)")
    return Annotation(class_id, box_outline(checked_box(entry["bbox"]), size), True)


def _unknown(entry: Entry, size: Size, is_blank: IsBlank) -> Annotation:
    """What an unusable annotation makes unknown: its outline if only the category is unusable, its box, or all."""
    try:
        outline = checked_outline(entry.get("segmentation"), size)
        if not is_blank(outline, size):
            return unknown(outline)
    except UnreadableLabels:
        pass
    box = _box_or_none(entry, size)
    return unknown_pixels(size) if box is None else unknown(box)


def _box_or_none(entry: Entry, size: Size) -> Outline | None:
    try:
        return box_outline(checked_box(entry.get("bbox")), size)
    except UnreadableLabels:
        return None


def _has_outline(entry: Entry) -> bool:
    segmentation = entry.get("segmentation")
    return bool(any(segmentation) if isinstance(segmentation, list) else segmentation)


def _stated_area(entry: Entry) -> float | None:
    try:
        area = float(entry["area"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return area if 0 < area < float("inf") else None


def _is_group(entry: Entry) -> bool:
    """Whether an annotation shows several objects; CVAT, which writes `attributes`, calls every painted mask so."""
    return _is_set(entry.get("iscrowd")) and "attributes" not in entry


def _is_set(flag: object) -> bool:
    return flag not in (None, 0, "0", False)


def _id(value: object) -> Id:
    """An id, equal for the number 7 and the text "7". Raises UnreadableLabels: neither text nor a whole number."""
    try:
        return whole_number(value)
    except ValueError:
        if isinstance(value, str) and value:
            return value
        raise UnreadableLabels(f"an id of {value!r:.40}; expected a whole number or text") from None


def id_or_none(value: object) -> Id | None:
    try:
        return _id(value)
    except UnreadableLabels:
        return None


FORMAT = Format(
    "coco", f"{IMAGES}/ and {ANNOTATIONS}", shared=_shared, images=IMAGES, listing=ANNOTATIONS, marks_reviewed=True
)
