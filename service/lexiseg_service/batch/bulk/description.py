"""A job's description in a file, the body of `POST /v1/jobs`, as a job of `lexiseg bulk`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import typer

from lexiseg_service.batch.http.schemas import JobInput
from lexiseg_service.batch.ledger.job import Format
from lexiseg_service.errors import ServiceError
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.question.validation import parse_object, validate
from lexiseg_service.settings import Limits

OPTION = "'--job'"
MAX_URLS = 10**8  # in one description, which is read into memory whole
TAKEN = frozenset({"classes", "vocabulary", "task", "background", "threshold", "max_side"})
# What is written beside the rows.
EXPORTS: dict[Format, list[str]] = {"jsonl": [], "parquet": [], "coco": ["coco"], "yolo": ["yolo"]}


class Description(NamedTuple):
    """The question, where the pictures are, and the formats to write beside parquet."""

    question: Question
    folder: str | None
    urls: list[str] | None
    to: list[str]


def read_description(path: Path, limits: Limits) -> Description:
    """Read a description.

    Raises:
        typer.BadParameter: it cannot be read, is cut off, or asks for what `lexiseg bulk` does not do.
    """
    try:
        job = validate(JobInput, parse_object(path.read_bytes(), limits, MAX_URLS))
        asked = job.question.model_dump(mode="json", exclude_unset=True)
        question = validate(Question, _taken(asked))
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=OPTION) from None
    except ServiceError as error:
        raise typer.BadParameter(f"{path}: {error.detail}", param_hint=OPTION) from None
    if (job.folder is None) == (job.urls is None):
        raise typer.BadParameter(f"{path}: expected one of folder and urls", param_hint=OPTION)
    if job.to not in EXPORTS:
        raise typer.BadParameter(f"{path}: to: expected {', '.join(EXPORTS)}; got {job.to}", param_hint=OPTION)
    if job.webhook is not None:
        typer.echo(f"lexiseg: bulk calls no webhook; that of {path} is left out", err=True)
    return Description(question, job.folder, job.urls, EXPORTS[job.to])


def _taken(asked: dict[str, Any]) -> dict[str, Any]:
    """The fields of a question, all of which bulk takes."""
    others = sorted(asked.keys() - TAKEN)
    if others:
        raise typer.BadParameter(
            f"question: bulk takes {', '.join(sorted(TAKEN))}; got {', '.join(others)}", param_hint=OPTION
        )
    return asked


def addresses(urls: list[str]) -> bytes:
    """URLs as a table for the source `csv`."""
    quoted = (f'"{url.replace(chr(34), chr(34) * 2)}"\n' for url in urls)
    return "".join(["url\n", *quoted]).encode()
