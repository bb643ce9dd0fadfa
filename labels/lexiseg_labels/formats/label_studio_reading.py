"""Label Studio's tasks as its JSON export has them, and as ours; shapes are read as Labelme's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.label_studio import BRUSH_WIDTHS, CHANNELS, LOCAL_FILES
from lexiseg_labels.masks import rle
from lexiseg_labels.masks.outlines import Size
from lexiseg_labels.picture_names import is_picture_name

# Results that mark pixels, and what Labelme calls their shapes; of the others it has none.
KINDS = {
    "brushlabels": "mask",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "ellipselabels": "ellipse",
    "keypointlabels": "point",
}


def tasks_of(content: object) -> list[dict[str, Any]]:
    """The tasks of a file. Raises UnreadableLabels: it is none of Label Studio's."""
    if not isinstance(content, list) or not content or not all(map(_is_task, content)):
        raise UnreadableLabels("no list of Label Studio's tasks")
    return content


def _is_task(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
        return False
    return isinstance(entry.get("annotations", entry.get("predictions")), list)


def photograph_of(task: Mapping[str, Any]) -> str:
    """The path or address of a task's picture: the first of its data that is called as one."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    places = [parse_qs(urlsplit(text).query).get("d", [""])[0] if LOCAL_FILES in text else text for text in texts]
    named = (place for place in places if is_picture_name(place.partition("?")[0]))
    return next(named, places[0] if places else "")


def results_of(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What marks pixels in the last annotation that was not cancelled; where none was made, in the last prediction."""
    listed = [task.get("annotations"), task.get("predictions")]
    given = [[each for each in some if isinstance(each, dict)] if isinstance(some, list) else [] for some in listed]
    done = [each for each in given[0] if not each.get("was_cancelled")]
    results = (done or given[1] or [{}])[-1].get("result")
    return [each for each in results if isinstance(each, dict) and each.get("type") in KINDS] if results else []


def size_in(task: Mapping[str, Any]) -> tuple[object, object]:
    """Height and width of the picture as its results state them; None: they do not."""
    first = next(iter(results_of(task)), {})
    return first.get("original_height"), first.get("original_width")


def shapes_of(task: Mapping[str, Any], size: Size) -> list[dict[str, Any]]:
    """The marks on a picture of [H, W] as Labelme has them; one with unusable values lacks them."""
    return [_shape_of(result, size) for result in results_of(task)]


def _shape_of(result: Mapping[str, Any], size: Size) -> dict[str, Any]:
    kind = result["type"]
    shape: dict[str, Any] = {"label": "", "shape_type": KINDS[kind]}
    if kind == "brushlabels":
        shape["segmentation"] = None
    try:
        value = result["value"]
        shape["label"] = (value.get(kind) or [""])[0]
        if result.get("image_rotation"):
            return shape | {"shape_type": "mark on a turned picture"}
        if kind == "brushlabels":
            mask = brush_mask(bytes(value["rle"]), size)
            return shape | {"segmentation": {"size": list(size), "counts": rle.encode(mask)}}
        return shape | _outline_of(kind, value, size)
    except (AttributeError, LookupError, TypeError, ValueError):
        return shape


def _outline_of(kind: str, value: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """Points in pixels of what is stated in percent of the picture."""
    height, width = size
    if kind == "polygonlabels":
        return {"points": [[x * width / 100, y * height / 100] for x, y in value["points"]]}
    x, y = value["x"] * width / 100, value["y"] * height / 100
    if kind == "rectanglelabels":
        turned = {"shape_type": "rotation"} if value.get("rotation") else {}  # no rectangle of the photograph
        return turned | {"points": [[x, y], [x + value["width"] * width / 100, y + value["height"] * height / 100]]}
    across, down = (value.get(name, 0) * side / 100 for name, side in (("radiusX", width), ("radiusY", height)))
    return {"points": [[x - across, y - down], [x + across, y + down]]}


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
