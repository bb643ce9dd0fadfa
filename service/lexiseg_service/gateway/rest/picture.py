"""An answer that is a picture alone: `Accept: image/png`."""

from __future__ import annotations

import json
from dataclasses import replace

from starlette.responses import Response

from lexiseg_service.question.asked import Asked
from lexiseg_service.question.messages import WorkerAnswer

PNG, JSON = "image/png", "application/json"
SEGMENTS = "X-Segments"  # a header: what the values of a label map mean
MOST_NAMED = 256  # segments in the header
LONGEST_HEADER = 4096  # bytes; proxies take eight kilobytes of headers in all


def wants_picture(accept: str) -> bool:
    """Whether a client would rather have a PNG than JSON (RFC 9110, 12.5.1)."""
    return PNG in accept.lower() and _weight(accept, PNG) > _weight(accept, JSON)


def as_one_picture(asked: Asked) -> Asked:
    """The question whose answer holds the picture: the overlay if that was asked for, else the label map."""
    mask = "none" if asked.question.overlay else "png"
    return replace(
        asked, question=asked.question.model_copy(update={"mask": mask, "confidence": False, "simplify": 0.0})
    )


def picture_of(answer: WorkerAnswer) -> Response:
    """The PNG; its header names the segments by their ids: `[[1, "sky", 0.91], ...]`."""
    content = answer.overlay if answer.label_map is None else answer.label_map.png
    assert content is not None
    named = [[segment.id, segment.label, round(segment.score, 4)] for segment in answer.segments[:MOST_NAMED]]
    while len(text := json.dumps(named)) > LONGEST_HEADER:
        named.pop()
    headers = {SEGMENTS: text, "X-Image-Id": answer.image_id}
    return Response(content, headers=headers, media_type=PNG)


def _weight(accept: str, kind: str) -> float:
    """Of the ranges that fit a kind, the most exact one's."""
    best = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name not in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
            continue
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weight = min(1.0, max(0.0, float(quality)))
        except ValueError:
            weight = 0.0
        best = max(best, (2 - name.count("*"), weight))
    return best[1]
