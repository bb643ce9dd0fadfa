"""The /jobs routes, and their JSON."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexiseg_labels.exports import MEDIA_TYPES
from lexiseg_service.batch.description import EXAMPLE, JobInput
from lexiseg_service.batch.formats import PARQUET, Format, check_fits, results
from lexiseg_service.batch.http.jobs import Jobs
from lexiseg_service.batch.ledger.job import ask_ledger
from lexiseg_service.errors import InvalidValue, NotReady, SwitchedOff, UnknownJob
from lexiseg_service.gateway.parts import Part
from lexiseg_service.gateway.rest import uploads
from lexiseg_service.gateway.rest.events import MEDIA_TYPE, followed
from lexiseg_service.gateway.rest.openapi import OF_SEGMENT, REQUEST_ID, problems
from lexiseg_service.gateway.rest.paths import STABLE, answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of
from lexiseg_service.question.schemas import Problem, SegmentAnswer

NAME = "jobs"
router = APIRouter(tags=["jobs"])
NDJSON = "application/x-ndjson"
Identity = Annotated[str, Path(description="job id, from the answer of `POST /v1/jobs`", examples=["3q2-7wAAAAAAAAAA"])]
After = Annotated[int, Query(ge=0, le=10**9, description="number of parts that the client has; `Link` names the next")]
Limit = Annotated[int | None, Query(ge=1, le=10**9, description="maximum number of parts in this response")]
To = Annotated[Format | None, Query(description="format of the results; default: the job's own")]
CREATE: dict[str, Any] = {
    "parameters": [REQUEST_ID],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/JobInput"}, "example": EXAMPLE},
            "multipart/form-data": uploads.form_schema("zip or uncompressed tar with the pictures", "JobInput"),
        },
    },
}
FORBIDDEN = (SwitchedOff, UnknownJob, NotReady)


class JobOutput(BaseModel):
    """A job, and where it stands."""

    id: str = Field(description="job id")
    state: Literal["waiting", "running", "done"] = Field(
        description="waiting: no picture is begun; running: pictures are left; done: every picture has a line"
    )
    total: int = Field(description="number of pictures")
    done: int = Field(description="number of pictures with an answer")
    failed: int = Field(description="number of pictures with a problem")
    per_minute: float = Field(description="pictures a minute: lately while it runs, over its whole time at the end")
    seconds_left: float | None = Field(description="estimate of the remaining time; null while it is not known")
    created: str = Field(description="time of creation, as RFC 3339 in UTC")
    ended: str | None = Field(description="time of the last answer; null before")
    expires: str | None = Field(description="time of removal with all results; null before the job ends")
    to: Format = Field(description="default format of the results")
    classes: list[str] = Field(description="labels in the order of `class_index`")
    detail: str | None = Field(description="reason why the job makes no progress, for people; null: none")
    webhook: Literal["none", "due", "sent", "given up"] = Field(description="state of the notice to the webhook")


class JobList(BaseModel):
    """The jobs of a client."""

    jobs: list[JobOutput] = Field(description="jobs of this API key, the oldest first")


class LineOutput(BaseModel):
    """One line of the results as JSON lines: a picture with its answer, or with the problem."""

    number: int = Field(description="number of the picture in the order of the source, from 0")
    image: str = Field(description="address of the picture, or its path in the folder or archive")
    answer: SegmentAnswer | None = Field(description="answer of `POST /v1/segment`; null with a problem")
    problem: Problem | None = Field(description="reason why there is no answer; null with one")


@router.post(
    "/jobs",
    summary="Ask one question about many pictures",
    status_code=202,
    responses={202: {"model": JobOutput, "description": "Accepted"}, **problems(*OF_SEGMENT, SwitchedOff)},
    openapi_extra=CREATE,
)
async def create_job(request: Request) -> Response:
    """Accept pictures by URL, in a folder that the operator allows, or in an archive; they are asked in the background.

    Interactive requests go before them.
    """
    jobs = jobs_of(request)
    # Two marks a URL: its comma, and one within it.
    more_values = 2 * settings_of(request).job_pictures
    async with uploads.parsed(request, JobInput, more_values) as (job_input, archive):
        job, progress = await jobs.create(job_input, archive, caller_of(request))
    answer = as_json(jobs.output(job, progress), 202)
    answer.headers["Location"] = f"{STABLE}/jobs/{job.id}"
    return answer


@router.get(
    "/jobs",
    summary="List jobs",
    responses={200: {"model": JobList}, **problems(SwitchedOff, NotReady)},
)
async def list_jobs(request: Request) -> Response:
    """List the jobs of this API key, the oldest first."""
    jobs = jobs_of(request)
    return as_json({"jobs": [jobs.output(*each) for each in await jobs.list_all(caller_of(request))]})


@router.get(
    "/jobs/{identity}",
    summary="One job",
    responses={200: {"model": JobOutput}, **problems(*FORBIDDEN)},
)
async def get_job(request: Request, identity: Identity) -> Response:
    """Return where a job stands: pictures done and failed, pictures a minute, time left."""
    return as_json(await jobs_of(request).standing(identity, caller_of(request)))


@router.get(
    "/jobs/{identity}/results",
    summary="Results of a job, while it runs and after",
    responses={
        200: {
            "model": LineOutput,
            "description": "For `jsonl` a line for each picture; `Link` with rel=next continues after the last of them",
            "content": {NDJSON: {}, **{kind: {} for kind in (*MEDIA_TYPES.values(), PARQUET)}},
        },
        **problems(*FORBIDDEN, InvalidValue),
    },
    response_class=Response,
)
async def get_results(
    request: Request, identity: Identity, to: To = None, after: After = 0, limit: Limit = None
) -> Response:
    """Return the answers that there are, in the order in which they were given."""
    jobs = jobs_of(request)
    job, _ = await jobs.find(identity, caller_of(request))
    form = to or job.to
    parts = (await ask_ledger(jobs.ledger.parts, job.id, after))[:limit]
    if form == "jsonl":
        link = f'<{STABLE}/jobs/{job.id}/results?to=jsonl&after={after + len(parts)}>; rel="next"'
        return _streamed(request, jobs.lines(job, parts), NDJSON, {"Link": link})
    if after or limit is not None:
        raise InvalidValue.of("after", after, f"neither `after` nor `limit` for to={form}; only jsonl continues")
    check_fits(form, job.question, job.classes)
    packed = results(form, lambda: map(orjson.loads, jobs.lines(job, parts)), job.classes)
    named = {"Content-Disposition": f'attachment; filename="{packed.file}"'}
    return _streamed(request, packed.content, packed.media_type, named)


def _streamed(request: Request, content: Iterator[bytes], media_type: str, headers: dict[str, str]) -> Response:
    if request.method == "HEAD":  # nothing would be sent of what is read
        return Response(headers=headers, media_type=media_type)
    return StreamingResponse(content, headers=headers, media_type=media_type)


@router.get(
    "/jobs/{identity}/events",
    summary="Progress of a job as server-sent events",
    responses={
        200: {
            "model": JobOutput,
            "description": "An event `progress` at each change, and `done` at the end, with the job as data",
            "content": {MEDIA_TYPE: {}},
        },
        **problems(*FORBIDDEN),
    },
    response_class=Response,
)
async def get_events(request: Request, identity: Identity) -> Response:
    """Send where the job stands, whenever that changes, until it is done."""
    return await followed(request, partial(jobs_of(request).standing, identity, caller_of(request)), "progress")


@router.delete(
    "/jobs/{identity}",
    summary="End and remove a job",
    status_code=204,
    responses=problems(*FORBIDDEN),
)
async def delete_job(request: Request, identity: Identity) -> Response:
    """End a job, and remove it with its archive and its results."""
    await jobs_of(request).remove(identity, caller_of(request))
    return Response(status_code=204)


def jobs_of(request: Request) -> Jobs:
    """The jobs of the application. Raises SwitchedOff: it takes none."""
    jobs: Jobs | None = request.app.state.parts[NAME]
    if jobs is None:
        raise SwitchedOff("jobs are switched off here; an operator switches them on by LEXISEG_JOBS=true")
    return jobs


answer_head(router)


PART = Part(
    NAME,
    router,
    [JobInput],
    lambda settings, *others: Jobs(settings, *others) if settings.jobs else None,
    lambda settings: settings.archive_bytes,
)
