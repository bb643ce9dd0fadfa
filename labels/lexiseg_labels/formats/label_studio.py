"""Label Studio's tasks with predictions; what it exports is read by `formats/label_studio_reading.py`.

The brush format is thi.ng/rle-pack over the mask's RGBA bytes, row-major. Header: number of words (32 bits),
bits of a word - 1 (5 bits), four run-length widths - 1 (4 bits each). Then for each run: a 1, the width's index (2
bits), the length - 1, and the word.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_name, model_version
from lexiseg_labels.json_text import SCORE_DECIMALS, json_list, rounded
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.rle import lengths_of
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings

BRUSH_WIDTHS = (3, 4, 8, 16)  # bits of a run length, as in Label Studio's own encoder
MAX_BRUSH_RUN = 1 << BRUSH_WIDTHS[-1]
CHANNELS = 4
LISTING = "tasks.json"
LOCAL_FILES = "/data/local-files/?d="  # from where Label Studio serves files of its own machine


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
        _region(
            uuid.uuid5(uuid.NAMESPACE_OID, f"{answer.id}/{segment.id}").hex[:10],
            segment,
            answer.size,
            shape,
            value(segment),
            segment.label or UNNAMED,
        )
        | {"from_name": from_name, "to_name": to_name}
        for segment in segments
    ]
    score = float(np.mean([segment.score for segment in segments])) if segments else 0.0
    return _task(image, model_version(answer.model, answer.model_digest), score, result)


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


def _task(image: str, model: str, score: float, result: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "data": {"image": image},
        "predictions": [{"model_version": model, "score": score, "result": result}],
    }


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


def _shared(data: DataSet) -> Iterator[File]:
    yield LISTING, json_list(_task_of(picture, data) for picture in data.pictures())


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
    return _task(place, picture.model, score, result)


FORMAT = Format(
    "label-studio",
    f"{LISTING} with a prediction for each picture",
    shared=_shared,
    listing=LISTING,
    marks_reviewed=True,
)
