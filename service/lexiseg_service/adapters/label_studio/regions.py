"""Segments as regions of Label Studio: brush strokes, polygons or boxes, in percent of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from starlette.requests import Request

from lexiseg_client.answers import rle
from lexiseg_client.answers.formats.label_studio import brush_runs
from lexiseg_model.types import Ring, Segment
from lexiseg_service.adapters.answering import each, outline
from lexiseg_service.adapters.label_studio.config import Control, Kind
from lexiseg_service.question.messages import WorkerAnswer


async def prediction_of(
    request: Request, answer: WorkerAnswer, control: Control, label: str | None = None
) -> dict[str, Any]:
    """One task's prediction; `label` is that of a click, whose segments have none.

    Raises:
        ClientDisconnect: Label Studio hung up.
    """

    def regions_of(segment: Segment, rings: Sequence[Ring]) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{answer.image_id[:8]}-{segment.id}-{index}",
                "from_name": control.name,
                "to_name": control.to_name,
                "type": control.kind,
                "original_width": answer.size[1],
                "original_height": answer.size[0],
                "image_rotation": 0,
                "value": {**shape, control.kind: [name] if (name := segment.label or label) is not None else []},
                "score": segment.score,
                "readonly": False,
            }
            for index, shape in enumerate(_shapes(segment, rings, answer.size, control.kind))
        ]

    regions = list(chain.from_iterable(await each(answer, regions_of)))
    scores = [region["score"] for region in regions]
    return {
        "result": regions,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "model_version": version_of(answer.model, answer.model_digest),
    }


def version_of(model: str, digest: str | None) -> str:
    """What Label Studio files a prediction under."""
    return f"lexiseg-{model}-{(digest or 'unloaded')[:12]}"


def _shapes(segment: Segment, rings: Sequence[Ring], size: tuple[int, int], kind: Kind) -> list[dict[str, Any]]:
    height, width = size
    if kind == "polygonlabels":
        return [{"points": _percent(ring, width, height), "closed": True} for ring in rings]
    if kind == "rectanglelabels":
        x, y, w, h = segment.bbox
        box = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
        return [{**box, "rotation": 0}]
    return [{"format": "rle", "rle": list(brush_runs(rle.decode(segment.mask.counts, segment.mask.size)))}]


def _percent(ring: Ring, width: int, height: int) -> list[list[float]]:
    # Label Studio's polygons have no holes: a brush keeps them.
    return [[100 * x / width, 100 * y / height] for x, y in outline(ring)]
