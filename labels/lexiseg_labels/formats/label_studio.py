"""Label Studio's tasks: with predictions of ours, and as its JSON export has them.

The brush format is thi.ng/rle-pack over the mask's RGBA bytes, row-major. Header: number of words (32 bits),
bits of a word - 1 (5 bits), four run-length widths - 1 (4 bits each). Then for each run: a 1, the width's index (2
bits), the length - 1, and the word. Shapes that are read are handed over as `marks` has them.

Objects of videos are boxes by keyframe, from frame 1. The frames are read in which somebody set one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, Format, Picture, category_name, model_version
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed, box_corners, ellipse, points_in, reader_of, shape_reader, turned
from lexiseg_labels.json_text import SCORE_DECIMALS, json_list, rounded
from lexiseg_labels.masks import rle
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.outlines import Size, whole_number
from lexiseg_labels.masks.rle import lengths_of
from lexiseg_labels.picture_names import is_picture_name, is_video_name
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings
from lexiseg_labels.tracks import Clip, Keyframe, frame_name, shapes_in

BRUSH_WIDTHS = (3, 4, 8, 16)  # bits of a run length, as in Label Studio's own encoder
MAX_BRUSH_RUN = 1 << BRUSH_WIDTHS[-1]
CHANNELS = 4
LISTING = "tasks.json"
LOCAL_FILES = "/data/local-files/?d="  # from where Label Studio serves files of its own machine
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
VIDEO_BOX = "videorectangle"
LABELME_KINDS = {"brush": "mask", "bitmask": "mask", "keypoint": "point"}


def to_label_studio(
    answer: Answer,
    image: str,
    *,
    shape: Literal["brush", "polygon"] = "brush",
    from_name: str = "label",
    to_name: str = "image",
    simplify: float = 0.0,
) -> dict[str, Any]:
    """A Label Studio task with a prediction, ready for import.

    Args:
        image: URL of the image in Label Studio, as `/data/local-files/?d=street.jpg`.
        shape: "brush" keeps masks exact; "polygon" joins parts as `to_yolo`.
        from_name: name of `BrushLabels` or `PolygonLabels` in the labeling configuration.
        to_name: name of `Image` there.
        simplify: as for `to_labelme`.

    Raises:
        ValueError: an unknown shape.
        NoMasks: requested with mask="none".
    """
    if shape not in ("brush", "polygon"):
        raise ValueError(f"shape: expected brush or polygon, got {shape!r}")
    segments = exportable(answer.segments)

    def value(segment: Segment) -> dict[str, Any]:
        if shape == "brush":
            return _brush(segment)
        percent = joined_contour(segment_rings(segment, simplify)) * 100 / answer.size[::-1]
        return {"points": percent.tolist(), "closed": True}

    result = [
        _region(region_id, segment, answer.size, shape, value(segment), segment.label or UNNAMED)
        | {"from_name": from_name, "to_name": to_name}
        for segment in segments
        for region_id in [uuid.uuid5(uuid.NAMESPACE_OID, f"{answer.id}/{segment.id}").hex[:10]]
    ]
    score = float(np.mean([segment.score for segment in segments])) if segments else 0.0
    return _task({"image": image}, model_version(answer.model, answer.model_digest), score, result)


def _brush(segment: Segment) -> dict[str, Any]:
    return {"format": "rle", "rle": list(brush_runs(segment.shape.pixels()))}


def _region(
    region_id: str, segment: Segment, size: tuple[int, int], shape: str, value: dict[str, Any], label: str
) -> dict[str, Any]:
    return {
        "id": region_id,
        "type": f"{shape}labels",
        "from_name": "label",
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "score": segment.score,
        "value": {**value, f"{shape}labels": [label]},
    }


def _task(data: dict[str, str], model: str, score: float, result: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": data, "predictions": [{"model_version": model, "score": score, "result": result}]}


def video_tasks(clip: Clip, model: str) -> bytes:
    """Tasks of a video: a prediction of `VideoRectangle` (name="box" toName="video") for each object.

    A box of the last frame of a run is not enabled: it ends there. `model` is a `model_version`.
    """
    height, width = clip.size
    result, scores = [], list[float]()
    for number, ((_, label), by_frame) in enumerate(clip.tracks.items(), 1):
        sequence = []
        for frame, segment in by_frame.items():
            left, top, right, bottom = segment.xyxy
            sequence.append(
                {
                    "frame": frame + 1,
                    "time": frame / clip.rate,
                    "enabled": frame + 1 in by_frame,
                    "rotation": 0,
                    **{"x": 100 * left / width, "width": 100 * (right - left) / width},
                    **{"y": 100 * top / height, "height": 100 * (bottom - top) / height},
                }
            )
            scores.append(segment.score)
        value = {"framesCount": clip.n_frames, "duration": clip.n_frames / clip.rate, "sequence": sequence}
        about = {"id": f"track-{number}", "type": VIDEO_BOX, "from_name": "box", "to_name": "video"}
        result.append(about | {"value": value | {"labels": [label]}})
    place = LOCAL_FILES + quote(clip.name, errors="surrogateescape")
    score = rounded(sum(scores) / len(scores), SCORE_DECIMALS) if scores else 0
    return b"".join(json_list([_task({"video": place}, model, score, result)]))


def brush_runs(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask [H, W] as a Label Studio brush: opaque white inside, transparent black outside."""
    bits = [f"{mask.size * CHANNELS:032b}{8 - 1:05b}", *(f"{width - 1:04b}" for width in BRUSH_WIDTHS)]
    for number, length in enumerate(lengths_of(mask.reshape(-1))):
        left = length * CHANNELS
        while left:
            run = min(left, MAX_BRUSH_RUN)
            index = next(index for index, width in enumerate(BRUSH_WIDTHS) if run <= 1 << width)
            bits.append(f"1{index:02b}{run - 1:0{BRUSH_WIDTHS[index]}b}{'11111111' if number % 2 else '00000000'}")
            left -= run
    bit_string = "".join(bits)
    bit_string += "0" * (-len(bit_string) % 8)
    return int(bit_string, 2).to_bytes(len(bit_string) // 8, "big")


def _task_of(picture: Picture, data: DataSet) -> dict[str, Any]:
    source = picture.source or picture.file_name
    segments = exportable(picture.segments)
    result = [
        _region(f"segment-{number}", segment, picture.size, "brush", _brush(segment), label)
        | {"score": rounded(segment.score, SCORE_DECIMALS)}
        for number, segment in enumerate(segments, 1)
        for label in [category_name(segment, data.classes)]
    ]
    place = source if "://" in source else LOCAL_FILES + quote(source, errors="surrogateescape")
    if picture.reviewed:
        return {"data": {"image": place}, "annotations": [{"result": result}]}
    score = rounded(sum(region["score"] for region in result) / len(result), SCORE_DECIMALS) if result else 0
    return _task({"image": place}, picture.model, score, result)


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
    """The pictures of a file, unlabelled ones with a `fault` included."""
    return (picture for task in tasks_of(content) for picture in _pictures_of(task))


def _pictures_of(task: Mapping[str, Any]) -> list[Listed]:
    places = _places_of(task)
    try:
        results, reviewed = _results_of(task)
        every = _regions(results)
        if len(places) == 1 and is_video_name(places[0].path):
            return _frames_of(places[0], every, reviewed)
        regions = _by_place(every, places)
    except UnreadableLabels as error:
        return [_picture(place, [], None)._replace(fault=str(error)) for place in places]
    return [
        _picture(place, regions[place], reviewed)
        if place in regions
        else _picture(place, [], None)._replace(fault="no mark of its task is on it")
        for place in places
    ]


def _frames_of(video: _Place, regions: Sequence[_Region], reviewed: bool | None) -> list[Listed]:
    try:
        tracks = [sorted(map(partial(_keyframe, each), each.value["sequence"]), key=itemgetter(0)) for each in regions]
    except (LookupError, TypeError, ValueError):
        raise UnreadableLabels("a mark of its task is in no frame, or no sequence of frames") from None
    return [
        Listed(
            frame_name(frame - 1),
            None,
            None,
            shape_reader(partial(shapes_in, tracks, frame, _shape_of)),
            reviewed,
            video=video.path,
        )
        for frame in sorted({each.frame for keyframes in tracks for each in keyframes})
    ]


def _keyframe(region: _Region, entry: Mapping[str, Any]) -> Keyframe[_Region]:
    value = {**entry, LABELS: region.value.get(LABELS)}
    kind = "rectangle" if region.kind == VIDEO_BOX else region.kind
    return Keyframe(whole_number(entry["frame"]), _Region(kind, value, {}), True, entry.get("enabled") is not False)


def _picture(place: _Place, regions: Sequence[_Region], reviewed: bool | None) -> Listed:
    about = regions[0].about if regions else {}
    height, width = about.get("original_height"), about.get("original_width")
    return Listed(place.path, height, width, reader_of(regions, _shape_of), reviewed)


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
    named = [(place, place.path.partition("?")[0]) for place in texts]
    pictures = [place for place, name in named if is_picture_name(name) or is_video_name(name)]
    if len({place.path for place in pictures}) < 2:  # one picture, perhaps under two keys
        return (pictures or texts or [_Place("", 0, "")])[:1]
    return pictures


def _results_of(task: Mapping[str, Any]) -> tuple[list[Any], bool | None]:
    """The results that count, and whether a person has submitted them.

    Of several submitted annotations the last with a mark counts; without any, the last prediction.
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
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, result in enumerate(results):
        each = result if isinstance(result, dict) else {}
        kind, value = str(each.get("type")), each.get("value")
        if kind in NO_MARK or (kind == LABELS and isinstance(value, dict) and OF_TEXT in value):
            continue
        groups.setdefault((str(each.get("to_name")), str(each.get("id", number))), []).append(each)
    return [_united(group) for group in groups.values()]


def _united(results: Sequence[dict[str, Any]]) -> _Region:
    values = (each.get("value") for each in results)
    value = {key: each for stated in values if isinstance(stated, dict) for key, each in stated.items()}
    kinds = [kind.removesuffix(LABELS) for each in results if (kind := str(each.get("type"))) != LABELS]
    by_key = (kind for key, kind in KINDS_BY_KEY.items() if key in value)
    return _Region(kinds[0] if kinds else next(by_key, "shape without a tag"), value, results[0])


def _by_place(regions: Sequence[_Region], places: Sequence[_Place]) -> dict[_Place, list[_Region]]:
    """The regions of each picture; none of one that no region names, where a task has several next to each other."""
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


def _shape_of(region: _Region, size: Size) -> dict[str, Any]:
    """The shape on a picture of [H, W]; one of an unknown kind, or with unusable values, has the points it states."""
    listed = [each for key, each in region.value.items() if key.endswith(LABELS) and isinstance(each, list)]
    labels = {str(name) for each in listed for name in each}
    label = labels.pop() if len(labels) == 1 else None
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
    height, width = size
    if kind == "brush":
        return {"segmentation": {"size": list(size), "counts": rle.encode(brush_mask(bytes(value["rle"]), size))}}
    if kind == "bitmask":
        return {"points": [[0, 0], [width - 1, height - 1]], "mask": value["imageDataURL"].partition(",")[2]}
    if kind == "vector" and value.get("closed") and not any(each.get("isBezier") for each in value["vertices"]):
        return {"shape_type": "polygon"}
    if kind == "polygon":
        return {"points": _scaled(value["points"], size)}
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
    """The mask [H, W] of a brush: where it is not transparent. Raises ValueError: it is damaged, or of another size."""
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


FORMAT = Format(
    "label-studio",
    f'{LISTING} for <Image name="image" value="$image"/> and <BrushLabels name="label" toName="image">,',
    shared=lambda data: [(LISTING, json_list(_task_of(picture, data) for picture in data.pictures()))],
    listing=LISTING,
    marks_reviewed=True,
    pictures_of=pictures_of,
    title="Label Studio",
)
