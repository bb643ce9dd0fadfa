"""Answers as one PNG."""

from __future__ import annotations

import json

from starlette.responses import Response

from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.schemas import Question

PNG = "image/png"
SEGMENTS_HEADER = "X-Segments"  # names the values of a label map
MAX_NAMED_SEGMENTS = 256
MAX_HEADER_BYTES = 4096  # proxies take eight kilobytes of headers in all


def for_png(question: Question) -> Question:
    """A question with the PNG in its answer: the overlay if requested, else the label map."""
    mask = "none" if question.overlay else "png"
    return question.model_copy(update={"mask": mask, "confidence": False, "simplify": 0.0})


def png_response(answer: WorkerAnswer) -> Response:
    """The PNG; its header names the segments by their ids: `[[1, "sky", 0.91], ...]`."""
    content = answer.overlay if answer.label_map is None else answer.label_map.png
    assert content is not None
    named = [[segment.id, segment.label, round(segment.score, 4)] for segment in answer.segments[:MAX_NAMED_SEGMENTS]]
    while len(text := json.dumps(named)) > MAX_HEADER_BYTES:
        named.pop()
    return Response(content, headers={SEGMENTS_HEADER: text, "X-Image-Id": answer.image_id}, media_type=PNG)


def quality(accept: str, media_type: str) -> float:
    """The q value of the most specific range that matches a media type."""
    best = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name not in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            continue
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weight = min(1.0, max(0.0, float(quality)))
        except ValueError:
            weight = 0.0
        best = max(best, (2 - name.count("*"), weight))
    return best[1]
