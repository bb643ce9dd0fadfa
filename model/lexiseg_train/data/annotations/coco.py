"""Files of COCO's instances within limits, and which files of a user's set count, and for which split.

What a file states is read by `lexiseg_labels.formats.coco`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import coco
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations.drawing import is_blank
from lexiseg_train.data.annotations.listed import (
    LabelFile,
    Photographs,
    class_name,
    images_left_out,
    not_read,
    stated_size,
)
from lexiseg_train.data.files.documents import OWN_JSON, PUBLISHED_JSON, JsonLimits, LimitError, read_json
from lexiseg_train.data.files.inside import SetFiles

# Files and folders of validation and test splits; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)
MAX_LISTINGS = 200
# COCO's own files of masks, and of other things in the same photographs.
INSTANCES, OTHERS = "instances_", ("person_keypoints_", "panoptic_", "stuff_", "captions_", "image_info_")


def is_coco(content: object) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in coco.LISTS)


def read_coco_file(
    listing: Path,
    categories: Collection[int] | None = None,
    size_of: coco.SizeOf = stated_size,
    limits: JsonLimits = PUBLISHED_JSON,
) -> LabelFile:
    """Read a file of instances; what cannot be used of it is left out or unknown, counted and named.

    `categories` are the ids that a public set has, None: the file's; `size_of` gives (H, W) of a photograph.
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
    for entry in entries if categories is not None else ():  # without one of its categories it is another set
        category = coco.id_or_none(entry.get("category_id"))
        if category is not None and category not in names:
            raise DatasetError(f"{listing}: unknown category {category}; expected one of the {len(names)} of the set")
    placed = coco.place(entries, images.by_id, names, is_blank)
    warnings = images_left_out(listing, len(lists["images"]), images.faults)
    warnings += not_read(listing, len(annotations), placed.faults, placed.n_boxes)
    of = f"of {len(annotations)} annotations in {listing}"
    if repeats:
        warnings += (f"{repeats} {of} are repeats of others, and count once",)
    if placed.all_groups:
        warnings += (f"all {of} are crowds (iscrowd), as some tools call every mask: they count as single objects",)
    unique = {image.file_name: image for image in images.by_id.values()}
    named = {category: name for category, name in names.items() if name is not None}
    unusable = tuple(map(as_text, images.faults))
    return LabelFile(listing, named, list(unique.values()), warnings, unusable, placed.n_groups)


def read_coco(files: SetFiles, paths: Sequence[Path]) -> list[LabelFile]:
    """What COCO files hold, without test splits; the first part has sentences about files that are not used."""
    if len(paths) > MAX_LISTINGS:
        raise DatasetError(f"{files.folder} has {len(paths):,} files of COCO; expected at most {MAX_LISTINGS}")
    unused = {path: "is a test split" for path in paths if _is_split(TEST, files, path)}
    unused |= {path: reason for path in paths if (reason := _other_than_masks(path, paths)) is not None}
    used = [path for path in paths if path not in unused] or [*paths]
    note = [f"{files.place_of(path)} {reason} and is not used" for path, reason in unused.items() if path not in used]
    parts: list[LabelFile] = []
    faults: list[DatasetError] = []
    for path in used:
        photographs = Photographs(path, files)
        try:
            part = read_coco_file(path, size_of=photographs.measured_size, limits=OWN_JSON)
        except DatasetError as error:
            faults.append(error)
            continue
        warnings, is_held_out = part.warnings + photographs.size_warnings(), _is_split(VALIDATION, files, path)
        parts.append(part._replace(warnings=warnings, held_out=is_held_out, photographs=photographs.measured))
    if not parts:
        raise faults[0]
    note += [f"{fault}; it is not used" for fault in faults]
    return [parts[0]._replace(warnings=(*note, *parts[0].warnings)), *parts[1:]]


def _other_than_masks(path: Path, paths: Sequence[Path]) -> str | None:
    """Why a file is not read with others: COCO lists the same photographs with masks, key points and panoptic PNG."""
    masks = [each for each in paths if each.parent == path.parent and each.name.startswith(INSTANCES)]
    if masks and path.name.startswith(OTHERS):
        return f"stands beside {masks[0].name}"
    if len(paths) > 1 and coco.is_panoptic(read_json(path)["annotations"]):
        return "is COCO's panoptic format"
    return None


def _is_split(split: re.Pattern[str], files: SetFiles, path: Path) -> bool:
    """Whether a file, by its path in the set, or the folder around it has the name of a split."""
    place = path.relative_to(files.folder)
    return any(split.match(part) for part in (place.parent.name, place.stem))
