"""Roboflow's `/sam3/concept_segment`: `inference_sdk` asks for words, one result a prompt."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.answering import SIMPLIFY, as_json, chosen, outline, run_lengths
from lexiseg_service.adapters.asking import ask_about, options_of, read_as
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
    least = [prompt.output_prob_thresh for prompt in body.prompts]
    fields = {
        "task": "panoptic",
        "simplify": SIMPLIFY if body.format == "polygon" else None,
        **options_of(request.query_params),
        "classes": [
            {"name": word, "threshold": body.output_prob_thresh if own is None else own}
            for word, own in zip(words, least, strict=True)
        ],
        "mask": body.format,
    }
    answer = await ask_about(request, fields, body.image.value, "image.value")
    results = [_result(answer, index, word, body.format) for index, word in enumerate(words)]
    return as_json({"prompt_results": results, "time": answer.timings.total / 1e3})


def _word(prompt: Prompt, index: int) -> str:
    if prompt.type != "text" or prompt.text is None:
        raise InvalidValue.of(f"prompts.{index}", f"type {prompt.type}", '{"type": "text", "text": ...}: words alone')
    return prompt.text


def _result(answer: WorkerAnswer, index: int, word: str, kind: str) -> dict[str, Any]:
    predictions = [
        {
            "masks": run_lengths(segment) if kind == "rle" else [outline(ring) for ring in rings],
            "confidence": segment.score,
            "format": kind,
        }
        for segment, rings in chosen(answer)
        if segment.class_index == index
    ]
    echo = {"prompt_index": index, "type": "text", "text": word, "num_boxes": 0}
    return {"prompt_index": index, "echo": echo, "predictions": predictions}
