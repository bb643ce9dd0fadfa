"""COCO's JSON of a user's set, as annotation tools export it: which files count, and for which split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.annotations.coco import is_panoptic, read_coco_file
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.annotations.sizes import MeasuredSizes
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import OWN_JSON
from lexiseg_train.data.own.drawn import Part

# Files and folders of validation and test splits; CVAT's subsets are Train, Validation, Test.
VALIDATION = re.compile(r"(instances_)?val(id(ation)?)?(\d+)?$", re.IGNORECASE)
TEST = re.compile(r"(instances_)?test(\d+)?$", re.IGNORECASE)
MAX_LISTINGS = 200
# COCO's own files of masks, and of other things in the same photographs.
INSTANCES, OTHERS = "instances_", ("person_keypoints_", "panoptic_", "stuff_", "captions_", "image_info_")


def read_coco(files: SetFiles, paths: Sequence[Path]) -> list[Part]:
    """What COCO files hold; the first part has sentences about files that are not used.

    Validation files or folders are held out, test files are left out. Photographs that are missing, cannot be read or
    have another size are left out.

    Raises:
        DatasetError: there are more than MAX_LISTINGS, or all are damaged or without a usable photograph.
    """
    if len(paths) > MAX_LISTINGS:
        raise DatasetError(f"{files.folder} has {len(paths):,} files of COCO; expected at most {MAX_LISTINGS}")
    unused = {path: "is a test split" for path in paths if _is_split(TEST, files, path)}
    unused |= {path: reason for path in paths if (reason := _other_than_masks(path, paths)) is not None}
    used = [path for path in paths if path not in unused] or [*paths]
    note = [f"{files.place_of(path)} {reason} and is not used" for path, reason in unused.items() if path not in used]
    parts: list[Part] = []
    faults: list[DatasetError] = []
    for path in used:
        try:
            parts.append(_part(files, path))
        except DatasetError as error:
            faults.append(error)
    if not parts:
        raise faults[0]
    note += [f"{fault}; it is not used" for fault in faults]
    first = parts[0].content
    return [parts[0]._replace(content=first._replace(warnings=(*note, *first.warnings))), *parts[1:]]


def _part(files: SetFiles, path: Path) -> Part:
    """What one file holds. Raises DatasetError: it is damaged, or none of its photographs can be used."""
    sizes = MeasuredSizes(Photographs(path, files))
    content = read_coco_file(path, size_of=sizes, limits=OWN_JSON)
    content = content._replace(warnings=content.warnings + sizes.warnings())
    return Part(path, content, held_out=_is_split(VALIDATION, files, path), bare_is_background=True)


def _other_than_masks(path: Path, paths: Sequence[Path]) -> str | None:
    """Why a file is not read with others: COCO lists the same photographs with masks, key points and panoptic PNG."""
    masks = [each for each in paths if each.parent == path.parent and each.name.startswith(INSTANCES)]
    if masks and path.name.startswith(OTHERS):
        return f"stands beside {masks[0].name}"
    if len(paths) > 1 and is_panoptic(path):
        return "is COCO's panoptic format"
    return None


def _is_split(split: re.Pattern[str], files: SetFiles, path: Path) -> bool:
    """Whether a file, by its path in the set, or the folder around it has the name of a split."""
    place = path.relative_to(files.folder)
    return any(split.match(part) for part in (place.parent.name, place.stem))
