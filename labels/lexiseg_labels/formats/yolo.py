"""YOLO's segmentation data set, as Ultralytics trains on it, and as other tools write it.

A line that is written is `CLASS x y x y ...`: corners as shares of width and height, floor(x * 10^6 / width + 0.5)
millionths. Holes and parts are joined into one polygon by bridges of zero width.

A line that is read is a class and a polygon, or a box without an outline. Boxes are `CLASS x y width height`, perhaps
with a confidence, the lines of poses (`kpt_shape` in the listing), and all lines of a set of rotated boxes; their
pixels are unknown. So are pixels of predictions, polygons with a confidence after them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import (
    AnnotatedImage,
    Annotation,
    ClassName,
    Id,
    IsBlank,
    Marks,
    unknown,
    unknown_pixels,
)
from lexiseg_labels.data_set import DataSet, File, Format, Picture
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.outlines import (
    Outline,
    Size,
    box_outline,
    checked_box,
    checked_outline,
    surrounding_box,
    whole_number,
)
from lexiseg_labels.segments import Segment, exportable, segment_rings

DECIMALS = 6  # 0.02 pixels in an image of 20,000
VAL_SHARE = 10  # one image in 10 is for validation
TRAIN, VAL = "train.txt", "val.txt"
LISTINGS = (".yaml", ".yml")
CLASS_LISTS = ("classes.txt", "labels/classes.txt")  # of Label Studio and LabelImg
# Names of the entries of a listing, and folders where the images of a split lie that it does not name.
SPLITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": (("train",), ("images/train", "train/images", "train", "images")),
    "val": (("val", "valid", "validation"), ("images/val", "val/images", "valid/images", "images/valid")),
}
NOTHING = ("", "~", "null", "None")
BOX, POLYGON = 4, 6  # numbers of a box, and of the least polygon
OUTSIDE = 0.01  # share of a side by which a corner may lie outside, as Ultralytics allows
TOLERANCE = 1e-3  # of the sides and angles of a rotated box, relative to its sides


def lines(segments: Sequence[Segment], size: tuple[int, int], tolerance: float = 0.0, *, without_class: int = 0) -> str:
    """The lines of a picture; a segment without a class gets `without_class`."""
    height, width = size
    scale = 10**DECIMALS
    rows = []
    for segment in exportable(segments):
        corners = joined_contour(segment_rings(segment, tolerance)) * scale / (width, height)
        shares = np.floor(corners + 0.5).astype(np.int64).reshape(-1).tolist()
        numbers = " ".join(f"{share // scale}.{share % scale:0{DECIMALS}d}" for share in shares)
        rows.append(f"{without_class if segment.class_index is None else segment.class_index} {numbers}\n")
    return "".join(rows)


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    yield f"labels/{picture.name}.txt", lines(picture.segments, picture.size, without_class=len(classes)).encode()


def _shared(data: DataSet) -> Iterator[File]:
    for split in (TRAIN, VAL):
        yield split, _listed(split, (picture.file_name for picture in data.pictures()))
    # Without `path` trainers resolve the splits against its folder; a JSON string is a valid YAML scalar.
    names = [f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(data.categories)]
    yield "data.yaml", "".join([f"train: {TRAIN}\nval: {VAL}\nnames:\n", *names]).encode()


def _listed(split: str, names: Iterable[str]) -> Iterator[bytes]:
    """The lines of a split's pictures.

    The split depends only on the picture's name, so adding pictures moves none. Trainers refuse an empty split: if one
    gets no picture, the first of the other is in both.
    """
    first, is_empty = None, True
    for name in names:
        is_val = zlib.crc32(os.fsencode(name.rpartition(".")[0])) % VAL_SHARE == 0
        line = f"./images/{name}\n".encode()
        first = first or line
        if is_val == (split == VAL):
            is_empty = False
            yield line
    if is_empty and first is not None:
        yield first


def places_of(content: Mapping[Any, Any], split: str) -> list[str]:
    """The folders, or lists of images, that a listing names for a split. Raises UnreadableLabels: no texts."""
    stated = [content.get(key) for key in SPLITS[split][0]]
    entries = [each for one in stated for each in (one if isinstance(one, list) else [one]) if each is not None]
    if not all(isinstance(entry, str) for entry in entries):
        raise UnreadableLabels("expected a folder, or a list of folders, for each split")
    return [entry for entry in entries if entry not in NOTHING]


def names_of(listed: object, class_name: ClassName, max_names: int) -> dict[Id, str | None]:
    """Class names by number, of a list, or a mapping from numbers; None: any class. UnreadableLabels: it is neither."""
    try:
        if not isinstance(listed, dict | list) or len(listed) > max_names:
            raise TypeError
        pairs = [*listed.items()] if isinstance(listed, dict) else [*enumerate(listed)]
        if any(isinstance(each, dict | list) for _, each in pairs):
            raise TypeError
        names = ((number, class_name(each)) for number, each in pairs if each is not None)
        return {whole_number(number): name for number, name in names if name != ""}
    except (ValueError, TypeError):
        raise UnreadableLabels(f"expected at most {max_names:,} names, as a list or by their numbers") from None


def labels_of(image: str) -> tuple[str, ...]:
    """Where the labels of an image lie, by its place in the set.

    images/train/a.jpg -> labels/train/a.txt; without such a folder a.txt next to the image, or below `labels`.
    """
    parts = [*PurePosixPath(image).with_suffix(".txt").parts]
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[-2::-1].index("images")
        parts[at] = "labels"
    beside = "/".join(parts)
    return (beside,) if "images" in parts else (beside, f"labels/{beside}")


def read_lines(
    lines: Sequence[str], names: Mapping[Id, str | None], size: Size, poses: bool, is_blank: IsBlank
) -> Marks:
    """What the lines of a picture [H, W] mark; pixels around an unusable one are unknown, or all if its place is.

    `names` by number, None: any class; with `poses` the numbers after a box are key points.
    """
    annotations: list[Annotation] = []
    faults: list[tuple[str, str]] = []
    n_boxes = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            annotation = _read_line(line, names, size, poses, is_blank)
            n_boxes += annotation.ignored and annotation.category is not None
        except (UnreadableLabels, ValueError) as error:
            faults.append((f"line {number}", str(error)))
            annotation = _unknown_of_line(line, size, poses)
        annotations.append(annotation)
    return Marks(annotations, faults, n_boxes, len(annotations))


def _read_line(line: str, names: Mapping[Id, str | None], size: Size, poses: bool, is_blank: IsBlank) -> Annotation:
    words = line.split()
    category = whole_number(float(words[0]))
    if category not in names:
        raise UnreadableLabels(f"no class has the number {category}")
    class_id = None if names[category] is None else category
    numbers = _shares(words[1:])
    if len(numbers) in (BOX, BOX + 1) or (poses and len(numbers) > BOX):
        return Annotation(class_id, _box(numbers, size), True)
    if len(numbers) % 2 and len(numbers) > POLYGON:
        raise UnreadableLabels(f"a polygon of {len(numbers)} coordinates; the last may be its confidence")
    outline = checked_outline([_pixels(numbers, size)], size)
    if is_blank(outline, size):
        raise UnreadableLabels("a polygon without a pixel")
    return Annotation(class_id, outline, class_id is None)


def _unknown_of_line(line: str, size: Size, poses: bool) -> Annotation:
    """What an unusable line makes unknown: the box around what it marks, or all if that is not known."""
    words = line.split()
    try:
        whole_number(float(words[0]))
        numbers = _shares(words[1:])
        if poses or len(numbers) < POLYGON:
            return unknown(_box(numbers, size))
        corners = np.array(_pixels(numbers[: len(numbers) // 2 * 2], size)).reshape(-1, 2)
        return unknown(surrounding_box(corners, size))
    except (UnreadableLabels, ValueError):
        return unknown_pixels(size)


def are_rotated_boxes(images: Sequence[AnnotatedImage]) -> bool:
    """Whether all polygons of a set have four corners and some are rotated rectangles: then none is an outline."""
    outlines = [each.outline for image in images for each in image.annotations if not each.ignored]
    return all(len(_ring(each)) == 4 for each in outlines) and any(_is_rotated(_ring(each)) for each in outlines)


def _ring(outline: Outline) -> NDArray[np.float64]:
    assert isinstance(outline, list)
    return np.asarray(outline[0], np.float64).reshape(-1, 2)


def _is_rotated(ring: NDArray[np.float64]) -> bool:
    """Whether four corners are a rectangle, to the decimals of a file, with sides that are not upright."""
    sides = np.roll(ring, -1, 0) - ring
    lengths = np.hypot(*sides.T)
    if lengths.min() <= 1:
        return False
    parallel = np.abs(sides[0] + sides[2]).max() < TOLERANCE * lengths.max()
    square = abs(sides[0] @ sides[1]) < TOLERANCE * lengths[0] * lengths[1]
    upright = np.abs(sides).min(1).max() < TOLERANCE * lengths.max()
    return bool(parallel and square and not upright)


def _shares(words: Sequence[str]) -> list[float]:
    """Numbers that are shares of a side. Raises UnreadableLabels, ValueError: one is none."""
    numbers = [float(word) for word in words]
    for number in numbers:
        if not -OUTSIDE <= number <= 1 + OUTSIDE:  # not a number, too
            raise UnreadableLabels(f"a coordinate of {number:g}; expected a share of the side, 0 to 1")
    return numbers


def _pixels(numbers: Sequence[float], size: Size) -> list[float]:
    return [share * side for share, side in zip(numbers, size[::-1] * len(numbers), strict=False)]


def _box(numbers: Sequence[float], size: Size) -> Outline:
    x, y, width, height = _pixels(numbers[:BOX], size)
    return box_outline(checked_box([x - width / 2, y - height / 2, width, height]), size)


FORMAT = Format("yolo", "images/, labels/*.txt, train.txt, val.txt and data.yaml", _of_picture, _shared, "images")
