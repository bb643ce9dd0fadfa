"""The description of a job: body of `POST /v1/jobs`, file of `lexiseg bulk --job`, and what its command line makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lexiseg_model.cards import StrictModel
from lexiseg_service.batch.formats import Format
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import has_examples
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.question.schemas import Question, TaskQuestion
from lexiseg_service.question.validation import parse_object, validate
from lexiseg_service.settings import Limits

MAX_URL_LENGTH = 2048
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_LENGTH)]
EXAMPLE = {
    "urls": ["https://example.org/street.jpg", "https://example.org/harbour.jpg"],
    "question": {"classes": ["road", "car", "boat"]},
    "to": "coco",
}


class WebhookInput(StrictModel):
    """An address that is told when the job ends."""

    url: Url = Field(description="HTTPS address that gets a POST when the job ends")
    secret: str = Field(
        min_length=16,
        max_length=256,
        description="secret that signs the POST: its header `webhook-signature` is `v1,` and the base64 HMAC-SHA256 of "
        "`ID.TIMESTAMP.BODY`, with the headers `webhook-id` and `webhook-timestamp`",
    )


class JobInput(StrictModel):
    """Pictures and one question about each of them."""

    question: Question = Field(description="question about each picture, with the fields of `POST /v1/segment`")
    urls: list[Url] | None = Field(
        None, fail_fast=True, description="addresses of the pictures; the server must take images by URL"
    )
    folder: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_URL_LENGTH,
        description="folder or s3:// prefix with the pictures, among those that the operator allows",
    )
    to: Format = Field("jsonl", description="default format of the results; each format can be asked for")
    webhook: WebhookInput | None = Field(None, description="address that is told when the job ends")


MAX_URLS = 10**8  # in one file, which is read into memory whole
QUESTION_FIELDS = frozenset(
    {"classes", "vocabulary", "task", "background", "threshold", "max_side", "head"}
)  # by rows of parquet


def stored(question: Question) -> dict[str, Any]:
    """A question as it is stored and compared: fields with their default count as left out."""
    return question.model_dump(mode="json", exclude_defaults=True)


def read_description(path: Path, limits: Limits) -> JobInput:
    job = validate(JobInput, parse_object(path.read_bytes(), limits, MAX_URLS))
    if others := sorted(job.question.model_dump(exclude_unset=True).keys() - QUESTION_FIELDS):
        raise InvalidValue(f"question: bulk takes {', '.join(sorted(QUESTION_FIELDS))}; got {', '.join(others)}")
    if has_examples(job.question.classes):
        raise InvalidValue.of("question.classes", "examples in pictures", "words alone; POST /v1/jobs takes examples")
    resolve_prompts(job.question, job.question.task or "semantic", limits)
    if (job.folder is None) == (job.urls is None):
        raise InvalidValue("expected one of folder and urls")
    return job


def task_question(question: Question) -> TaskQuestion:
    """A question with its task, one that bulk takes."""
    return TaskQuestion.model_validate(stored(question))
