"""Export to Labelme, Label Studio and CVAT.

Label Studio's brush format is thi.ng/rle-pack over the mask's RGBA bytes, row-major. Header: number of words (32 bits),
bits of a word - 1 (5 bits), four run-length widths - 1 (4 bits each). Then for each run: a 1, the width's index (2
bits), the length - 1, and the word.
"""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.masks import png
from lexiseg_labels.masks.polygons import joined_contour
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings

LABELME_VERSION = "5.5.0"  # masks exist since 5.2
BRUSH_WIDTHS = (3, 4, 8, 16)  # bits of a run length, as in Label Studio's own encoder
MAX_BRUSH_RUN = 1 << BRUSH_WIDTHS[-1]
CHANNELS = 4
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters without a form in XML 1.0


def to_labelme(answer: Answer, image_path: str = "", *, simplify: float = 0.0) -> dict[str, Any]:
    """The Labelme JSON for an image: a polygon for each part of a segment, or one mask if it has holes.

    Args:
        image_path: path from the JSON file to the image.
        simplify: maximum deviation of contours in pixels; 0 keeps every corner.

    Raises:
        NoMasks: requested with mask="none".
    """
    height, width = answer.size
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": [shape for segment in exportable(answer.segments) for shape in _labelme_shapes(segment, simplify)],
        "imagePath": image_path,
        "imageData": None,  # Labelme reads the image file next to the JSON
        "imageHeight": height,
        "imageWidth": width,
    }


def _labelme_shapes(segment: Segment, tolerance: float) -> list[dict[str, Any]]:
    rings = segment_rings(segment, tolerance)
    if any(ring.holes for ring in rings):  # Labelme polygons cannot have holes
        x, y, width, height = segment.bbox
        pixels = segment.shape.pixels()[y : y + height, x : x + width].astype(np.uint8) * np.uint8(255)
        mask = base64.b64encode(png.encode(pixels)).decode()
        # The second corner is the last pixel inside.
        return [_labelme_shape(segment, "mask", [[x, y], [x + width - 1, y + height - 1]], mask)]
    return [_labelme_shape(segment, "polygon", ring.exterior.tolist(), None) for ring in rings]


def _labelme_shape(segment: Segment, kind: str, points: list[list[int]], mask: str | None) -> dict[str, Any]:
    return {
        "label": segment.label or UNNAMED,
        "points": [[float(x), float(y)] for x, y in points],
        "group_id": segment.id,  # groups the parts of a segment
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


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

    def brush(segment: Segment) -> dict[str, Any]:
        return {"format": "rle", "rle": list(brush_runs(segment.shape.pixels()))}

    def polygon(segment: Segment) -> dict[str, Any]:
        percent = joined_contour(segment_rings(segment, simplify)) * 100 / answer.size[::-1]
        return {"points": percent.tolist(), "closed": True}

    result = [
        {
            "id": uuid.uuid5(uuid.NAMESPACE_OID, f"{answer.id}/{segment.id}").hex[:10],
            "type": f"{shape}labels",
            "from_name": from_name,
            "to_name": to_name,
            "original_width": answer.size[1],
            "original_height": answer.size[0],
            "image_rotation": 0,
            "score": segment.score,
            "value": {
                **(brush(segment) if shape == "brush" else polygon(segment)),
                f"{shape}labels": [segment.label or UNNAMED],
            },
        }
        for segment in segments
    ]
    score = float(np.mean([segment.score for segment in segments])) if segments else 0.0
    return {
        "data": {"image": image},
        "predictions": [{"model_version": f"{answer.model} {answer.model_digest}", "score": score, "result": result}],
    }


def brush_runs(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask [H, W] as a Label Studio brush: opaque white inside, transparent black outside."""
    flat = mask.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}{8 - 1:05b}", *(f"{width - 1:04b}" for width in BRUSH_WIDTHS)]
    for length, word in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        while length:
            run = min(length, MAX_BRUSH_RUN)
            index = next(index for index, width in enumerate(BRUSH_WIDTHS) if run <= 1 << width)
            bits.append(f"1{index:02b}{run - 1:0{BRUSH_WIDTHS[index]}b}{'11111111' if word else '00000000'}")
            length -= run
    bit_string = "".join(bits)
    bit_string += "0" * (-len(bit_string) % 8)
    return int(bit_string, 2).to_bytes(len(bit_string) // 8, "big")


def xml_text(text: str) -> str:
    """A text whose characters without a form in XML are escaped as in JSON, for names of files."""
    return NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_cvat(
    answer: Answer,
    image_name: str,
    *,
    image_id: int = 0,
    shape: Literal["mask", "polygon"] = "mask",
    simplify: float = 0.0,
) -> str:
    """CVAT XML (`CVAT for images 1.1`) for this image.

    Args:
        image_name: name of the image file in the task.
        shape: "mask" keeps masks exact; "polygon" joins parts as `to_yolo`.
        simplify: as for `to_labelme`.

    Raises:
        ValueError: an unknown shape.
        NoMasks: requested with mask="none".
    """
    if shape not in ("mask", "polygon"):
        raise ValueError(f"shape: expected mask or polygon, got {shape!r}")
    height, width = answer.size
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    image = ElementTree.SubElement(
        root, "image", {"id": str(image_id), "name": xml_text(image_name), "width": str(width), "height": str(height)}
    )
    for segment in exportable(answer.segments):
        common = {"label": xml_text(segment.label or UNNAMED), "source": "auto", "occluded": "0", "z_order": "0"}
        extra = _cvat_mask(segment) if shape == "mask" else _cvat_polygon(segment, simplify)
        ElementTree.SubElement(image, shape, common | extra)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _cvat_mask(segment: Segment) -> dict[str, str]:
    x, y, width, height = segment.bbox
    crop = segment.shape.pixels()[y : y + height, x : x + width]
    runs = ", ".join(map(str, runs_of(crop)))
    return {"rle": runs, "left": str(x), "top": str(y), "width": str(width), "height": str(height)}


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """CVAT's run lengths of a mask [H, W]: row-major, alternating background and foreground, background first."""
    flat = np.concatenate([[False], mask.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return runs


def _cvat_polygon(segment: Segment, tolerance: float) -> dict[str, str]:
    corners = joined_contour(segment_rings(segment, tolerance)).tolist()
    return {"points": ";".join(f"{x},{y}" for x, y in corners)}
