"""Files of COCO's instances within limits; what they state is read by `lexiseg_labels.formats.coco_reading`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from lexiseg_labels.annotations import Id
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import coco_reading as coco
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations.content import CocoFile, class_name, images_left_out, not_read
from lexiseg_train.data.annotations.drawing import is_blank
from lexiseg_train.data.annotations.sizes import stated_size
from lexiseg_train.data.files.documents import LimitError, read_json
from lexiseg_train.data.files.limits import PUBLISHED_JSON, JsonLimits


def is_coco(content: object) -> bool:
    """Whether the content of a JSON file has the lists of COCO."""
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in coco.LISTS)


def is_panoptic(path: Path) -> bool:
    """Whether a file of COCO's lists has segments in PNG files in place of outlines."""
    return coco.is_panoptic(read_json(path)["annotations"])


def read_coco_file(
    listing: Path,
    categories: Collection[int] | None = None,
    size_of: coco.SizeOf = stated_size,
    limits: JsonLimits = PUBLISHED_JSON,
) -> CocoFile:
    """Read a file of instances; an image that cannot be used is left out, counted and named.

    So is an annotation: pixels of its box are unknown, without a box all that no other annotation explains.

    Args:
        listing: the file.
        categories: ids that a public set has; None: the file's.
        size_of: (H, W) of a photograph by its name and what the file states.
        limits: of the file.

    Raises:
        DatasetError: the file is missing or not of COCO's instances, none of its images can be used, two images or
            categories share an id, or a category is none of `categories`.
    """
    content = read_json(listing, limits)
    try:
        lists = coco.lists_of(content, needs_categories=categories is None)
        annotations = lists["annotations"]
        if coco.is_panoptic(annotations):
            raise DatasetError(f"{listing} is COCO's panoptic format; expected instances, with `segmentation`")
        names = coco.categories_of(lists["categories"], class_name)
        if categories is not None:
            names = {category: names.get(category) or str(category) for category in categories}
        images = coco.images_of(lists["images"], size_of)
    except (UnreadableLabels, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DatasetError(as_text(f"{listing} is not a file of COCO's instances: {reason}")) from None
    if len(annotations) > limits.n_annotations:
        raise LimitError(f"{listing} has more than {limits.n_annotations:,} annotations, the most that is read")
    entries, repeats = coco.usable(annotations, images)
    if categories is not None:
        _refuse_unknown(listing, entries, names)
    placed = coco.place(entries, images.by_id, names, is_blank)
    warnings = images_left_out(listing, len(lists["images"]), images.faults)
    warnings += not_read(listing, len(annotations), placed.faults, placed.n_boxes)
    warnings += _deviations(listing, len(annotations), repeats, placed.all_groups)
    unique = {image.file_name: image for image in images.by_id.values()}
    named = {category: name for category, name in names.items() if name is not None}
    return CocoFile(named, list(unique.values()), placed.n_groups, warnings, tuple(map(as_text, images.faults)))


def _refuse_unknown(listing: Path, entries: Sequence[dict[str, Any]], names: Collection[Id]) -> None:
    """Raise DatasetError: an annotation of a public set has none of its categories, so it is another set."""
    for entry in entries:
        category = coco.id_or_none(entry.get("category_id"))
        if category is not None and category not in names:
            raise DatasetError(f"{listing}: unknown category {category}; expected one of the {len(names)} of the set")


def _deviations(listing: Path, n_annotations: int, repeats: int, all_groups: bool) -> tuple[str, ...]:
    """Sentences about annotations that are read otherwise than they are written."""
    of = f"of {n_annotations} annotations in {listing}"
    warnings = []
    if repeats:
        warnings.append(f"{repeats} {of} are repeats of others, and count once")
    if all_groups:
        warnings.append(f"all {of} are crowds (iscrowd), as some tools call every mask: they count as single objects")
    return tuple(warnings)
