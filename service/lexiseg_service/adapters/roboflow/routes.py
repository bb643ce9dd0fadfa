"""The route that the SDK asks at."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.answering import SIMPLIFY, as_json, chosen, each
from lexiseg_service.adapters.asking import ask_about
from lexiseg_service.adapters.reading import limits_of, options_of, read_as
from lexiseg_service.adapters.roboflow.prompts import Prompt, Threshold, class_of
from lexiseg_service.adapters.roboflow.results import Format, prediction_of, results_of
from lexiseg_service.errors import InvalidValue

router = APIRouter()


class Image(BaseModel):
    """A file in base64, or a URL."""

    type: Literal["base64", "url"]
    value: str


class Body(BaseModel):
    """What the SDK sends, and more: an `api_key`, a `model_id` of SAM3's, an overlap for its suppression."""

    image: Image
    prompts: Annotated[list[Prompt], Field(min_length=1, fail_fast=True)]
    output_prob_thresh: Threshold = 0.5
    format: Format = "polygon"


@router.post("/sam3/concept_segment")
async def concept_segment(request: Request) -> Response:
    """Objects of every prompt, and stuff as a whole (`?task=` says otherwise); the prompts compete for pixels."""
    body = await read_as(Body, request)
    n_prompts, most = len(body.prompts), limits_of(request).max_classes
    if n_prompts > most:
        raise InvalidValue.of("prompts", f"{n_prompts} prompts", f"at most {most}")
    classes = [class_of(prompt, index, body.output_prob_thresh) for index, prompt in enumerate(body.prompts)]
    fields = {
        "task": "panoptic",
        "simplify": SIMPLIFY if body.format == "polygon" else None,
        **options_of(request.query_params),
        "classes": classes,
        "mask": body.format,
    }
    answer = await ask_about(request, fields, body.image.value, "image.value")
    make = partial(prediction_of, kind=body.format)
    # Run lengths are there already.
    predictions = [make(*one) for one in chosen(answer)] if body.format == "rle" else await each(answer, make)
    results = results_of(body.prompts, predictions)
    return as_json({"prompt_results": results, "time": answer.timings.total / 1e3})
