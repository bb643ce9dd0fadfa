"""REST routes of segmentation and models; answers are JSON, or one PNG on request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.image_requests import results_or_errors, with_field
from lexiseg_service.gateway.rest import body, problem
from lexiseg_service.gateway.rest.openapi import PICTURE, PROBLEMS, REQUEST_ID, SEGMENT, SEGMENT_BODY, query
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, render_json
from lexiseg_service.question.schemas import Question, SegmentAnswer, SegmentAnswers
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics, failure_reason

T = TypeVar("T")
router = APIRouter()
PNG = "image/png"
SEGMENTS_HEADER = "X-Segments"  # names the values of a label map
MAX_NAMED_SEGMENTS = 256
MAX_HEADER_BYTES = 4096  # proxies take eight kilobytes of headers in all


@router.post(
    "/segment",
    summary="Masks for an image and a class list, points or boxes",
    tags=["segmentation"],
    responses={
        200: {
            "model": SegmentAnswer,
            "content": {"application/json": {"example": SEGMENT}, "image/png": PICTURE},
        },
        207: {"model": SegmentAnswers, "description": "Several images, of which one or more got a problem"},
        **PROBLEMS,
    },
    openapi_extra={"parameters": [REQUEST_ID, *query()], "requestBody": SEGMENT_BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Return one mask for each class that owns pixels, for each object, or for each possible meaning of a prompt.

    Masks are COCO run lengths by default. With `Accept: image/png` the answer is the label map as a PNG, or with
    `overlay` the image with its segments painted on; the header `X-Segments` maps pixel values to labels.

    A form with several images gets `{"answers": [...]}` in their order, each an answer or a problem document, with
    status 207 if one is a problem.
    """
    as_png = wants_png(request.headers.get("accept", ""))
    with _counted(request):
        question, images = await body.read(request, settings_of(request).limits)
        if as_png and len(images) > 1:
            raise InvalidValue.of("image", f"{len(images)} files", "one file for an answer as image/png")
        if len(images) > 1:
            return await until_disconnect(request, _several(request, question, images))
        if as_png:
            mask = "none" if question.overlay else "png"
            question = question.model_copy(update={"mask": mask, "confidence": False, "simplify": 0.0})
        answer = await until_disconnect(request, use_case_of(request).segment(question, images[0], caller_of(request)))
    if as_png:
        return png_response(answer)
    render = partial(render_json, answer, request.state.request_id)
    content = await off_event_loop(answer.nbytes, render)
    return Response(content, media_type="application/json")


def wants_png(accept: str) -> bool:
    """Whether a client prefers a PNG to JSON (RFC 9110, 12.5.1)."""
    return PNG in accept.lower() and quality(accept, PNG) > quality(accept, "application/json")


async def _several(request: Request, question: Question, images: Sequence[ImageSource]) -> Response:
    """The answers to one question about several images, as `segment` says. Raises as `results_or_errors`."""
    use_case, caller, request_id = use_case_of(request), caller_of(request), request.state.request_id
    limits: ClientLimits = request.app.state.client_limits

    async def ask(number: int, image: ImageSource) -> bytes:
        sender = replace(caller, seconds=deadline - time.monotonic())  # one deadline for all images
        try:
            answer = await use_case.segment(question, image, sender)
        except ServiceError as error:
            raise with_field(error, f"image.{number}") from None
        return await off_event_loop(answer.nbytes, partial(render_json, answer, f"{request_id}-{number}"))

    deadline: float = use_case.origin(caller, time.monotonic())["deadline"]
    asks = [partial(ask, number, image) for number, image in enumerate(images)]
    results = await results_or_errors(asks, deadline, partial(limits.count, caller.client))
    errors = [result for result in results if isinstance(result, ServiceError)]
    if len(errors) == len(results) and len({(error.type, error.detail) for error in errors}) == 1:
        raise errors[0]  # of the question, not of an image
    contents = []
    for number, result in enumerate(results):
        if isinstance(result, ServiceError):
            _metrics_of(request).failures.labels(failure_reason(result)).inc()
            result = problem.as_bytes(result.document(f"{request_id}-{number}"))
        contents.append(result)
    status = 207 if errors else 200
    return Response(b'{"answers":[' + b",".join(contents) + b"]}", status, media_type="application/json")


@contextmanager
def _counted(request: Request) -> Iterator[None]:
    metrics = _metrics_of(request)
    metrics.questions.labels("rest").inc()
    try:
        yield
    except ClientDisconnect:
        metrics.failures.labels("canceled").inc()
        raise
    except Exception as error:
        metrics.failures.labels(failure_reason(error)).inc()
        raise


def _metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def answer_of(request: Request, parsed_body: Awaitable[tuple[Question, ImageSource]]) -> WorkerAnswer:
    """The answer to the question and image of a body; counts failures, also of its parsing."""
    with _counted(request):
        question, image = await parsed_body
        return await until_disconnect(request, use_case_of(request).segment(question, image, caller_of(request)))


def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def use_case_of(request: Request) -> UseCase:
    use_case: UseCase = request.app.state.use_case
    return use_case


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def as_json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up."""
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.add_done_callback(_drop)
            raise ClientDisconnect
        return working.result()
    finally:
        listening.cancel()
        working.cancel()


def _drop(work: asyncio.Future[Any]) -> None:
    """Take the error of work that nobody waits for; asyncio would log it."""
    if not work.cancelled():
        work.exception()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
