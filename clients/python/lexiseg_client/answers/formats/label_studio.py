"""Label Studio's predictions: brush strokes in its own run lengths, or polygons in percent of the image.

A brush is the picture's RGBA bytes, row by row, in the run lengths of thi.ng/rle-pack: 32 bits for how many words there
are, 5 for a word's bits less one, four times 4 for the widths of lengths less one; then for each run a 1, two bits that
choose a width, the length less one, and the word.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers.formats.shapes import UNNAMED, borders, exported
from lexiseg_client.answers.outlines import one_loop

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segment, Segmentation

WIDTHS = (3, 4, 8, 16)  # bits of a length, as its own encoder chooses them
LONGEST = 1 << WIDTHS[-1]
CHANNELS = 4


def task(
    answer: Segmentation,
    image: str,
    shape: Literal["brush", "polygon"],
    from_name: str,
    to_name: str,
    tolerance: float,
) -> dict[str, Any]:
    """See `Segmentation.to_label_studio`."""
    if shape not in ("brush", "polygon"):
        raise ValueError(f"shape: expected brush or polygon, got {shape!r}")
    segments = exported(answer)
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
                **(_brush(segment) if shape == "brush" else _polygon(segment, answer.size, tolerance)),
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


def _brush(segment: Segment) -> dict[str, Any]:
    return {"format": "rle", "rle": list(brush_runs(segment.shape.pixels()))}


def _polygon(segment: Segment, size: tuple[int, int], tolerance: float) -> dict[str, Any]:
    height, width = size
    return {"points": (one_loop(borders(segment, tolerance)) * 100 / (width, height)).tolist(), "closed": True}


def brush_runs(mask: NDArray[np.bool_]) -> bytes:
    """The bytes of a mask's brush.

    Args:
        mask: [H, W]; opaque white where it is, transparent black elsewhere.
    """
    flat = mask.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}{8 - 1:05b}", *(f"{width - 1:04b}" for width in WIDTHS)]
    for length, word in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        while length:
            run = min(length, LONGEST)
            kind = next(kind for kind, width in enumerate(WIDTHS) if run <= 1 << width)
            bits.append(f"1{kind:02b}{run - 1:0{WIDTHS[kind]}b}{'11111111' if word else '00000000'}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
