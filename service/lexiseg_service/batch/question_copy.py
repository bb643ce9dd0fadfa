"""The question of a job: nothing that is changed or deleted after it was taken changes it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from lexiseg_client.stubs.worker_pb2 import WorkerSegmentVideoRequest
from lexiseg_labels.masks import png
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Point, Prompt
from lexiseg_service.errors import DeadlineExceeded, ModelChanged, Temporary
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, WorkerRequest
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.streams import StreamQuestion
from lexiseg_service.wire.messages import decode_step, encode_step

BLANK_SIDE = 512  # pixels of a picture that shows nothing; more than a picture needs


@dataclass(frozen=True)
class QuestionCopy:
    """A question with everything that it named, as that was when it was taken; asked about many images."""

    request: WorkerRequest  # without an image; its model is NAME@VERSION
    digest: str  # of the weights that must answer; "": they were not loaded then


async def copied(use_case: UseCase, question: Question, caller: Caller) -> QuestionCopy:
    """A copy of a question, of which the language can be read where a worker answers now."""
    request = await use_case.request(question, caller)
    model = str(ModelName.from_card(use_case.card(request.model)))
    await _check_language(use_case, request)
    return QuestionCopy(replace(request, model=model), use_case.backend.digest(model) or "")


async def ask(
    use_case: UseCase, question: QuestionCopy, image: ImageSource, caller: Caller, seconds: float
) -> WorkerAnswer:
    use_case.card(question.request.model)
    request = replace(question.request, **use_case.origin(caller, time.monotonic()))
    request = await use_case.with_image(request, image)
    answer = await use_case.backend.segment(replace(request, deadline=time.monotonic() + seconds, remember=False))
    if question.digest not in ("", answer.model_digest):
        came = f"{request.model} had the weights {question.digest} when the question was taken"
        raise ModelChanged(f"model: {came}, and has {answer.model_digest} now; ask anew")
    return answer


async def _check_language(use_case: UseCase, request: WorkerRequest) -> None:
    """Ask about a blank image: workers have the dictionaries. Where no worker answers now, nothing is refused."""
    if request.language is None or not request.vocabulary.classes:
        return
    blank = png.encode(np.zeros((BLANK_SIDE, BLANK_SIDE), np.uint8))
    prompts = request.prompts and (Prompt((Point(BLANK_SIDE / 2, BLANK_SIDE / 2),)),)
    with suppress(Temporary, DeadlineExceeded):
        request = await use_case.with_image(replace(request, prompts=prompts), ImageSource(blank))
        await use_case.backend.segment(replace(request, remember=False))


def encode(question: QuestionCopy) -> bytes:
    """A question as a file: the digest, then the message that begins a stream."""
    step = encode_step(StreamQuestion(question.request))
    return question.digest.encode() + b"\n" + step.SerializeToString()


def decode(content: bytes) -> QuestionCopy:
    digest, _, message = content.partition(b"\n")
    step = decode_step(WorkerSegmentVideoRequest.FromString(message))
    assert isinstance(step, StreamQuestion)
    return QuestionCopy(step.request, digest.decode())
