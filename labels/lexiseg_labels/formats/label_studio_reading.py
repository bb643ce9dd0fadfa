"""Label Studio's tasks as its JSON export has them, and as ours; shapes are handed over as `marks` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.label_studio import BRUSH_WIDTHS, CHANNELS, LOCAL_FILES
from lexiseg_labels.formats.marks import Listed, box_corners, ellipse, points_in, shape_reader, turned
from lexiseg_labels.masks import rle
from lexiseg_labels.masks.outlines import Size
from lexiseg_labels.picture_names import is_picture_name

# About a whole picture, or marks of a text, a sound or a time series in the same task.
NO_MARK = frozenset({
    "choices", "taxonomy", "textarea", "rating", "number", "datetime", "pairwise", "ranker", "relation",
    "hypertextlabels", "paragraphlabels", "timeserieslabels", "timelinelabels",
})  # fmt: skip
LABELS = (
    "labels"  # ends the types that have labels; by itself the type of `<Labels>`, which name a shape of another tag
)
OF_TEXT = "start"  # key of a value that marks text or sound
# Kinds by a key of their values, where the file has the labels of a shape without its own result.
KINDS_BY_KEY = {
    "rle": "brush", "imageDataURL": "bitmask", "vertices": "vector", "points": "polygon", "radiusX": "ellipse",
    "height": "rectangle",
}  # fmt: skip
LABELME_KINDS = {"brush": "mask", "bitmask": "mask", "keypoint": "point"}


class _Place(NamedTuple):
    """A picture of a task: the key of its data, its number in a list of pages, its path or address."""

    key: str
    page: int
    path: str


class _Region(NamedTuple):
    """The results of one id, of which some state a shape and some its labels."""

    kind: str
    value: dict[str, Any]
    about: Mapping[str, Any]  # the first of them: names and sizes


def tasks_of(content: object) -> list[dict[str, Any]]:
    """The tasks of a file. Raises UnreadableLabels: it is none of Label Studio's."""
    if not isinstance(content, list) or not content or not all(map(_is_task, content)):
        raise UnreadableLabels("no list of Label Studio's tasks")
    return content


def _is_task(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
        return False
    return isinstance(entry.get("annotations", entry.get("predictions")), list)


def pictures_of(content: object) -> Iterator[Listed]:
    """The pictures of a file, unlabelled ones with a `fault` included.

    Raises:
        UnreadableLabels: it is none of Label Studio's.
    """
    return (picture for task in tasks_of(content) for picture in _pictures_of(task))


def _pictures_of(task: Mapping[str, Any]) -> list[Listed]:
    places = _places_of(task)
    try:
        results, reviewed = _results_of(task)
        regions = _by_place(_regions(results), places)
    except UnreadableLabels as error:
        return [_left_out(place, str(error)) for place in places]
    return [
        _picture(place, regions[place], reviewed)
        if place in regions
        else _left_out(place, "no mark of its task is on it")
        for place in places
    ]


def _left_out(place: _Place, reason: str) -> Listed:
    return Listed(place.path, None, None, shape_reader(lambda _: []), fault=reason)


def _picture(place: _Place, regions: Sequence[_Region], reviewed: bool | None) -> Listed:
    about = regions[0].about if regions else {}
    shapes = shape_reader(partial(_shapes_of, regions))
    return Listed(place.path, about.get("original_height"), about.get("original_width"), shapes, reviewed)


def _places_of(task: Mapping[str, Any]) -> list[_Place]:
    """The pictures of a task: the data that are called as one, else the first text."""
    listed = ((key, [each] if isinstance(each, str) else each) for key, each in task["data"].items())
    texts = [
        _Place(str(key), page, parse_qs(urlsplit(text).query).get("d", [""])[0] if LOCAL_FILES in text else text)
        for key, pages in listed
        if isinstance(pages, list)
        for page, text in enumerate(pages)
        if isinstance(text, str)
    ]
    pictures = [place for place in texts if is_picture_name(place.path.partition("?")[0])]
    if len({place.path for place in pictures}) < 2:  # one picture, perhaps under two keys
        return (pictures or texts or [_Place("", 0, "")])[:1]
    return pictures


def _results_of(task: Mapping[str, Any]) -> tuple[list[Any], bool | None]:
    """The results that count, and whether a person has submitted them.

    Of several submitted annotations the last with a mark counts; without any, the last prediction.

    Raises:
        UnreadableLabels: nobody and nothing has labelled the task.
    """
    listed = [task.get("annotations"), task.get("predictions")]
    annotations, predictions = (
        [each for each in some if isinstance(each, dict) and isinstance(each.get("result"), list)]
        if isinstance(some, list)
        else []
        for some in listed
    )
    if submitted := [each["result"] for each in annotations if not each.get("was_cancelled")]:
        return next((each for each in reversed(submitted) if _regions(each)), submitted[-1]), True
    if annotations:
        raise UnreadableLabels("it was skipped")
    if predictions:
        return predictions[-1]["result"], None
    raise UnreadableLabels("it has a draft alone" if task.get("drafts") else "nobody has labelled it")


def _regions(results: Sequence[Any]) -> list[_Region]:
    """The regions that results mark."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, result in enumerate(results):
        each = result if isinstance(result, dict) else {}
        kind, value = str(each.get("type")), each.get("value")
        if kind in NO_MARK or (kind == LABELS and isinstance(value, dict) and OF_TEXT in value):
            continue
        groups.setdefault((str(each.get("to_name")), str(each.get("id", number))), []).append(each)
    return [_region(group) for group in groups.values()]


def _region(results: Sequence[dict[str, Any]]) -> _Region:
    values = (each.get("value") for each in results)
    value = {key: each for stated in values if isinstance(stated, dict) for key, each in stated.items()}
    kinds = [kind.removesuffix(LABELS) for each in results if (kind := str(each.get("type"))) != LABELS]
    by_key = (kind for key, kind in KINDS_BY_KEY.items() if key in value)
    return _Region(kinds[0] if kinds else next(by_key, "shape without a tag"), value, results[0])


def _by_place(regions: Sequence[_Region], places: Sequence[_Place]) -> dict[_Place, list[_Region]]:
    """The regions of each picture; none of one that no region names, where a task has several next to each other.

    Raises:
        UnreadableLabels: it is not clear which picture a region is on.
    """
    keys = {place.key for place in places}
    names = {str(region.about.get("to_name")) for region in regions}
    if len(keys) > 1 and (not names or not names <= keys):
        raise UnreadableLabels("its task has several pictures, and does not say which of them its marks are on")
    by_place: dict[_Place, list[_Region]] = {place: [] for place in places if len(keys) == 1 or place.key in names}
    for region in regions:
        name, page = str(region.about.get("to_name")), region.about.get("item_index") or 0
        on = [place for place in by_place if len(keys) == 1 or place.key == name]
        there = [place for place in on if len(on) == 1 or place.page == page]
        if not there:
            raise UnreadableLabels(f"a mark of its task is on page {page!r:.20} of {len(on)}")
        by_place[there[0]].append(region)
    return by_place


def _shapes_of(regions: Sequence[_Region], size: Size) -> list[dict[str, Any]]:
    """The shapes on a picture of [H, W]; one of an unknown kind, or with unusable values, has the points it states."""
    return [_shape_of(region, size) for region in regions]


def _shape_of(region: _Region, size: Size) -> dict[str, Any]:
    listed = [each for key, each in region.value.items() if key.endswith(LABELS) and isinstance(each, list)]
    label = next((name for each in listed for name in each if isinstance(name, str)), "")
    shape = {"label": label, "shape_type": LABELME_KINDS.get(region.kind, region.kind)}
    if region.about.get("image_rotation"):
        return shape | {"shape_type": "mark on a turned picture"}
    try:
        return shape | {"points": _scaled(points_in(region.value), size)} | _outline_of(region.kind, region.value, size)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        return shape | ({"segmentation": None} if region.kind == "brush" else {})


def _scaled(points: Sequence[Sequence[float]], size: Size) -> list[list[float]]:
    """Points in pixels of what is stated in percent of the picture."""
    return [[x * size[1] / 100, y * size[0] / 100] for x, y in points]


def _outline_of(kind: str, value: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """Raises AttributeError, LookupError, TypeError, ValueError, OverflowError: a value is unusable."""
    height, width = size
    if kind == "brush":
        return {"segmentation": {"size": list(size), "counts": rle.encode(brush_mask(bytes(value["rle"]), size))}}
    if kind == "bitmask":
        return {"points": [[0, 0], [width - 1, height - 1]], "mask": value["imageDataURL"].partition(",")[2]}
    if kind == "vector" and value.get("closed") and not any(each.get("isBezier") for each in value["vertices"]):
        return {"shape_type": "polygon"}
    if kind in ("rectangle", "ellipse"):
        [[x, y]], degrees = _scaled([[value["x"], value["y"]]], size), value.get("rotation") or 0
        names = ("width", "height") if kind == "rectangle" else ("radiusX", "radiusY")
        [[across, down]] = _scaled([[value[name] for name in names]], size)
        if kind == "ellipse":
            return {"shape_type": "polygon", "points": ellipse(x, y, across, down, degrees)}
        if not degrees:
            return {"points": [[x, y], [x + across, y + down]]}
        return {"shape_type": "rotation", "points": turned(box_corners(x, y, across, down), (x, y), degrees)}
    return {}


def brush_mask(content: bytes, size: Size) -> NDArray[np.bool_]:
    """The mask [H, W] of a brush: where it is not transparent.

    Raises:
        ValueError: it is damaged, or of another size.
    """
    at = 0

    def take(bits: int) -> int:
        nonlocal at
        end = at + bits
        if end > 8 * len(content):
            raise ValueError("a brush that is cut off")
        number = int.from_bytes(content[at // 8 : (end + 7) // 8], "big") >> -end % 8 & (1 << bits) - 1
        at = end
        return number

    n_words, word_bits = take(32), take(5) + 1
    if (n_words, word_bits) != (size[0] * size[1] * CHANNELS, 8):
        raise ValueError(f"a brush of {n_words:,} words of {word_bits} bits on a picture of {size[0]} x {size[1]}")
    widths = [take(4) + 1 for _ in BRUSH_WIDTHS]
    words, counts, left = bytearray(), list[int](), n_words
    while left > 0:
        repeats, run = take(1), take(widths[take(2)]) + 1
        words += bytes([take(8)]) if repeats else bytes(take(8) for _ in range(run))
        counts += [run] if repeats else [1] * run
        left -= run
    if left < 0:
        raise ValueError("a brush that is longer than its picture")
    channels = np.repeat(np.frombuffer(words, np.uint8), counts)
    return channels[CHANNELS - 1 :: CHANNELS].reshape(size) > 0
