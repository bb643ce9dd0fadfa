"""Calls of Roboflow's `inference_sdk` (1.8).

`sam3_concept_segment` (words, boxes), `sam3_embed_image`, `sam3_visual_segment` (points, boxes), and `infer` (words),
which lists the models of the server and loads one that is not listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.types import Segment
from lexiseg_service.adapters.tools import (
    SIMPLIFY,
    ask,
    convert,
    doubled_area,
    image_of_text,
    options_of,
    outline,
    read_as,
    run_lengths,
)
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import as_json, settings_of, use_case_of
from lexiseg_service.question.messages import ImageSource, WorkerAnswer

BOX_LABELS = (("examples", 1), ("negatives", 0))  # field of a class, and the label of its boxes
Threshold = Annotated[float, Field(ge=0, le=1)]
Format = Literal["polygon", "rle"]
FIRST_PIXEL = {"task": "prompt", "prompts": [{"points": [{"x": 0, "y": 0}]}], "mask": "none"}  # the least question


class SizedBox(BaseModel):
    """Pixels of the image: a corner and the size of a box."""

    x: float
    y: float
    width: float
    height: float

    def corners(self) -> list[float]:
        return [self.x, self.y, self.x + self.width, self.y + self.height]


class CornerBox(BaseModel):
    """Pixels of the image: two corners."""

    x0: float
    y0: float
    x1: float
    y1: float

    def corners(self) -> list[float]:
        return [self.x0, self.y0, self.x1, self.y1]


class Prompt(BaseModel):
    """A word, boxes around examples (label 1) and counterexamples (label 0), or both."""

    type: str = "text"
    text: str | None = None
    boxes: list[SizedBox | CornerBox] = Field([], fail_fast=True)
    # None: all 1.
    box_labels: list[Annotated[int, Field(ge=0, le=1)]] | None = Field(None, fail_fast=True)
    output_prob_thresh: Threshold | None = None


def class_of(prompt: Prompt, index: int, threshold: float) -> dict[str, Any]:
    """A prompt as a class: its boxes are examples in the request's image, its text is searched for as well."""
    labels = [1] * len(prompt.boxes) if prompt.box_labels is None else prompt.box_labels
    if len(labels) != len(prompt.boxes):
        raise InvalidValue.of(
            f"prompts.{index}.box_labels", str(len(labels)), f"one for each of {len(prompt.boxes)} boxes"
        )
    if prompt.text is None and 1 not in labels:
        raise InvalidValue.of(
            f"prompts.{index}", f"type {prompt.type}", "a text, or boxes of which one has the label 1"
        )
    min_score = prompt.output_prob_thresh
    entry: dict[str, Any] = {
        "name": f"prompt {index}" if prompt.text is None else prompt.text,
        "threshold": threshold if min_score is None else min_score,
    }
    if prompt.boxes:
        examples = [{"box": box.corners()} for box in prompt.boxes]
        by_field = {
            name: [one for one, label in zip(examples, labels, strict=True) if label == of_field]
            for name, of_field in BOX_LABELS
        }
        entry |= {**by_field, "words": prompt.text is not None}
    return entry


def prediction_of(segment: Segment, kind: Format) -> tuple[int | None, dict[str, Any]]:
    """Index of a segment's prompt, and the segment in the tool's format."""
    masks = run_lengths(segment) if kind == "rle" else [outline(ring) for ring in segment.rings]
    return segment.class_index, {"masks": masks, "confidence": segment.score, "format": kind}


def results_of(
    prompts: Sequence[Prompt], predictions: Sequence[tuple[int | None, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Predictions grouped by prompt, with what was sent of each prompt."""
    by_prompt: dict[int | None, list[dict[str, Any]]] = {}
    for index, prediction in predictions:
        by_prompt.setdefault(index, []).append(prediction)
    return [
        {
            "prompt_index": index,
            "echo": {"prompt_index": index, "type": prompt.type, "text": prompt.text, "num_boxes": len(prompt.boxes)},
            "predictions": by_prompt.get(index, []),
        }
        for index, prompt in enumerate(prompts)
    ]


router = APIRouter()


class Image(BaseModel):
    """An image file in base64, or its URL."""

    type: Literal["base64", "url"]
    value: str


class Body(BaseModel):
    """A request; its `api_key`, `model_id` and overlap threshold are ignored."""

    image: Image
    prompts: Annotated[list[Prompt], Field(min_length=1, fail_fast=True)]
    output_prob_thresh: Threshold = 0.5
    format: Format = "polygon"


class Click(BaseModel):
    """A click at a pixel: on the object if `positive`, else off it."""

    x: float
    y: float
    positive: bool


class CentredBox(SizedBox):
    """Pixels of the image: the centre of a box, and its size."""

    def corners(self) -> list[float]:
        across, down = self.width / 2, self.height / 2
        return [self.x - across, self.y - down, self.x + across, self.y + down]


class VisualPrompt(BaseModel):
    """One object."""

    box: CentredBox | None = None
    points: list[Click] | None = Field(None, fail_fast=True)

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"points": [click.model_dump() for click in self.points or ()]}
        if self.box is not None:
            fields["box"] = self.box.corners()
        return fields


class EmbedBody(BaseModel):
    """A request; the id that it wants is ignored: an image has its own."""

    image: Image


async def answer_of(request: Request, image: ImageSource, kind: Format, fields: dict[str, Any]) -> WorkerAnswer:
    """Ask about an image; the query may name another task, and how far polygons are simplified."""
    usual = {
        "task": "panoptic",
        "simplify": SIMPLIFY if kind == "polygon" else None,
        **options_of(request.query_params),
    }
    return await ask(request, usual | fields | {"mask": kind}, image)


@router.post("/sam3/embed_image")
async def embed_image(request: Request) -> Response:
    """Run the image pass; by `image_id` prompts of `sam3/visual_segment` need no image for as long as it is kept."""
    body = await read_as(EmbedBody, request)
    fields = {**options_of(request.query_params), **FIRST_PIXEL}
    answer = await ask(request, fields, await image_of_text(body.image.value, "image.value"))
    return as_json({"image_id": answer.image_id, "time": answer.timings_ms.total / 1e3})


class VisualPrompts(BaseModel):
    """The object in which the SDK sends the list of prompts."""

    prompts: list[VisualPrompt] = Field(fail_fast=True)


class VisualBody(BaseModel):
    """A request; `multimask_output` is ignored, and `image_id` where there is an image."""

    image: Image | None = None
    image_id: str | None = None
    prompts: VisualPrompts | Annotated[list[VisualPrompt], Field(fail_fast=True)]
    format: Literal["json", "polygon", "rle"] = "json"


@router.post("/sam3/visual_segment")
async def visual_segment(request: Request) -> Response:
    """The best mask of every prompt, in their order; the format json means polygons."""
    body = await read_as(VisualBody, request)
    prompts = body.prompts.prompts if isinstance(body.prompts, VisualPrompts) else body.prompts
    kind: Format = "rle" if body.format == "rle" else "polygon"
    fields = {"task": "prompt", "prompts": [prompt.fields() for prompt in prompts]}
    image = ImageSource(id=body.image_id)
    if body.image is not None:
        image = await image_of_text(body.image.value, "image.value")
    elif body.image_id is None:
        raise InvalidValue.of("image", None, "an image, or the image_id that sam3/embed_image answered")
    answer = await answer_of(request, image, kind, fields)
    predictions = [prediction for _, prediction in await convert(answer, partial(prediction_of, kind=kind))]
    return as_json({"predictions": predictions, "time": answer.timings_ms.total / 1e3})


@router.post("/sam3/concept_segment")
async def concept_segment(request: Request) -> Response:
    """Objects of every prompt, stuff as a whole (`?task=` overrides this); the prompts compete for pixels."""
    body = await read_as(Body, request)
    n_prompts, max_classes = len(body.prompts), settings_of(request).limits.max_classes
    if n_prompts > max_classes:
        raise InvalidValue.of("prompts", f"{n_prompts} prompts", f"at most {max_classes}")
    classes = [class_of(prompt, index, body.output_prob_thresh) for index, prompt in enumerate(body.prompts)]
    image = await image_of_text(body.image.value, "image.value")
    answer = await answer_of(request, image, body.format, {"classes": classes})
    predictions = await convert(answer, partial(prediction_of, kind=body.format))
    return as_json({"prompt_results": results_of(body.prompts, predictions), "time": answer.timings_ms.total / 1e3})


ModelId = Annotated[str, AfterValidator(lambda text: text.replace("/", "@"))]  # NAME or NAME/VERSION


class InferBody(BaseModel):
    """A request of `infer`; its words are from `InferenceConfiguration(class_filter=[...])`."""

    model_id: ModelId
    image: Image
    class_filter: list[str] = Field([], fail_fast=True)
    confidence: Threshold | None = None
    response_mask_format: Format = "polygon"


@router.post("/infer/instance_segmentation")
async def infer(request: Request) -> Response:
    """Segments of the words, each with its largest part as `points`, or as `rle`."""
    body = await read_as(InferBody, request)
    if not body.class_filter:
        raise InvalidValue.of("class_filter", None, "words: configure(InferenceConfiguration(class_filter=[...]))")
    kind = body.response_mask_format
    fields = {"model": body.model_id, "classes": body.class_filter, "threshold": body.confidence}
    answer = await answer_of(request, await image_of_text(body.image.value, "image.value"), kind, fields)
    height, width = answer.size
    request_id = request.state.request_id
    content = {
        "image": {"width": width, "height": height},
        "time": answer.timings_ms.total / 1e3,
        "inference_id": request_id,
        "predictions": await convert(answer, partial(listed, request_id=request_id, kind=kind)),
    }
    return as_json(content)


@router.get("/model/registry")
async def registry(request: Request) -> dict[str, Any]:
    """Every model that is served, as NAME and NAME/VERSION."""
    described = {"task_type": "instance-segmentation", "batch_size": 1}
    cards = use_case_of(request).models()
    names = [name for card in cards for name in (card["name"], f"{card['name']}/{card['version']}")]
    return {"models": [{"model_id": name, **described} for name in names]}


class Named(BaseModel):
    """The model that the SDK wants to be there."""

    model_id: ModelId


@router.post("/model/add")
async def add(request: Request) -> dict[str, Any]:
    """Check that a model is served; `infer` asks this for one that is not listed."""
    use_case_of(request).model((await read_as(Named, request)).model_id)
    return await registry(request)


def listed(segment: Segment, request_id: str, kind: Format) -> dict[str, Any]:
    """A segment in Roboflow's format, as run lengths or the outline of its largest part; `x`, `y`: its box's centre."""
    x, y, width, height = segment.bbox
    if kind == "rle":
        mask: dict[str, Any] = {"rle": run_lengths(segment)}
    else:
        corners = max(map(outline, segment.rings), key=doubled_area, default=[])
        mask = {"points": [{"x": x, "y": y} for x, y in corners]}
    return {
        "x": x + width / 2,
        "y": y + height / 2,
        "width": width,
        "height": height,
        "confidence": segment.score,
        "class": segment.label or "",
        "class_id": -1 if segment.class_index is None else segment.class_index,
        "detection_id": f"{request_id}-{segment.id}",
        **mask,
    }


def adapter(app: FastAPI) -> Adapter:
    return Adapter([router], use='InferenceHTTPClient(api_url="ADDRESS", api_key="KEY").sam3_concept_segment(...)')
