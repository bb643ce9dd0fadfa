"""Answers as language models read them: few numbers, no masks."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from PIL import Image, ImageOps

from lexiseg_client.answers import rle
from lexiseg_model.types import Segment
from lexiseg_service.question.messages import WorkerAnswer

DIGITS = 3
PERCENT = 100.0


def table(answer: WorkerAnswer) -> dict[str, Any]:
    """What was found, what was not, and the id to ask again with."""
    height, width = answer.size
    return {
        "image": f"id:{answer.image_id}",
        "width": width,
        "height": height,
        "segments": [row(segment, answer.size) for segment in answer.segments],
        "absent": list(answer.absent),
        "warnings": [warning.detail for warning in answer.warnings],
    }


def row(segment: Segment, size: tuple[int, int]) -> dict[str, Any]:
    """One segment: pixels, percent of the picture, box x, y, width, height."""
    x, y, width, height = segment.bbox
    return {
        "label": segment.label,
        "score": round(segment.score, DIGITS),
        "area": segment.area,
        "percent": percent(segment.area, size),
        "box": [x, y, width, height],
        "centre": [x + width / 2, y + height / 2],
    }


def percent(area: float, size: tuple[int, int]) -> float:
    """Of the picture."""
    return round(PERCENT * area / (size[0] * size[1]), DIGITS)


def areas(answer: WorkerAnswer, words: list[str]) -> dict[str, int]:
    """Pixels of each word, 0 for one that is not there."""
    totals = dict.fromkeys(words, 0)
    for segment in answer.segments:
        if segment.class_index is not None:
            totals[words[segment.class_index]] += segment.area
    return totals


def result(content: dict[str, Any], *pictures: bytes | None) -> CallToolResult:
    """A result as data, as text for models that read no data, and with PNGs."""
    blocks: list[ContentBlock] = [TextContent(type="text", text=json.dumps(content))]
    for picture in filter(None, pictures):
        blocks.append(ImageContent(type="image", data=base64.b64encode(picture).decode(), mime_type="image/png"))
    return CallToolResult(content=blocks, structured_content=content)


def cut(content: bytes, segment: Segment) -> bytes:
    """The PNG of a segment's box, transparent where the mask is not."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    x, y, width, height = segment.bbox
    mask = rle.decode(segment.mask.counts, segment.mask.size)[y : y + height, x : x + width]
    piece = picture.crop((x, y, x + width, y + height))
    piece.putalpha(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))
    written = io.BytesIO()
    piece.save(written, "PNG")
    return written.getvalue()
