"""Roboflow's `/sam3/concept_segment`: `inference_sdk` asks for words, one result a prompt."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.types import Ring
from lexiseg_service.adapters.asking import SIMPLIFY, ask, image_in, options_of, read_as
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import WorkerAnswer

router = APIRouter()
Threshold = Annotated[float, Field(ge=0, le=1)]


class Image(BaseModel):
    """A file in base64, or a URL."""

    type: Literal["base64", "url"]
    value: str


class Prompt(BaseModel):
    """A word. Boxes as examples of it are not taken."""

    type: str = "text"
    text: str | None = None
    output_prob_thresh: Threshold | None = None


class Body(BaseModel):
    """What the SDK sends, and more: an `api_key`, a `model_id` of SAM3's, an overlap for its suppression."""

    image: Image
    prompts: Annotated[list[Prompt], Field(min_length=1)]
    output_prob_thresh: Threshold = 0.5
    format: Literal["polygon", "rle"] = "polygon"


@router.post("/sam3/concept_segment")
async def concept_segment(request: Request) -> Response:
    """Objects of every word, and stuff as a whole (`?task=` says otherwise); the words compete for pixels."""
    body = await read_as(Body, request)
    words = [_word(prompt, index) for index, prompt in enumerate(body.prompts)]
    classes = [
        {"name": word, "threshold": body.output_prob_thresh if own is None else own}
        for word, own in zip(words, (prompt.output_prob_thresh for prompt in body.prompts), strict=True)
    ]
    mask = "rle" if body.format == "rle" else "polygon"
    options = {
        "task": "panoptic",
        "simplify": SIMPLIFY if mask == "polygon" else None,
        **options_of(request.query_params),
    }
    image, url = image_in(body.image.value, "image.value")
    answer = await ask(request, {**options, "classes": classes, "mask": mask}, image, url)
    results = [_result(answer, index, word) for index, word in enumerate(words)]
    content = {"prompt_results": results, "time": answer.timings.total / 1e3}
    return Response(orjson.dumps(content), media_type="application/json")


def _word(prompt: Prompt, index: int) -> str:
    if prompt.type != "text" or prompt.text is None:
        raise InvalidValue.of(f"prompts.{index}", f"type {prompt.type}", '{"type": "text", "text": ...}: words alone')
    return prompt.text


def _result(answer: WorkerAnswer, index: int, word: str) -> dict[str, Any]:
    predictions = []
    for position, segment in enumerate(answer.segments):
        if segment.class_index != index:
            continue
        if answer.polygons is None:
            masks: Any = {"size": segment.mask.size, "counts": segment.mask.counts}
        else:
            masks = [outline(ring) for ring in answer.polygons[position]]
        kind = "rle" if answer.polygons is None else "polygon"
        predictions.append({"masks": masks, "confidence": segment.score, "format": kind})
    echo = {"prompt_index": index, "type": "text", "text": word, "num_boxes": 0}
    return {"prompt_index": index, "echo": echo, "predictions": predictions}


def outline(ring: Ring) -> list[list[int]]:
    """The corners of a part as pairs; its holes, which no polygon of these tools can say, are left out."""
    return [list(pair) for pair in zip(ring.exterior[::2], ring.exterior[1::2], strict=True)]
