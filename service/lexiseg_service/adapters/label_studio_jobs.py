"""Label Studio's tasks as a job: its JSON export comes in, predictions for its import go out.

POST /jobs {"tasks": [...], "label_config": XML}  ->  a job of /v1/jobs
GET /jobs/ID/predictions                          ->  the body of POST /api/projects/ID/import/predictions
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexiseg_model.types import AnswerWarning, Ring, Rle, Segment
from lexiseg_service.adapters.label_studio import (
    Control,
    Task,
    control_of,
    fields_of_control,
    place_of,
    prediction,
    regions_of,
)
from lexiseg_service.adapters.label_studio_pictures import image_of
from lexiseg_service.adapters.tools import notes_of, read_as
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.jobs.job import Job, Part, SourceKind
from lexiseg_service.gateway.jobs.jobs import Jobs, Tasks
from lexiseg_service.gateway.jobs.schemas import JobInput
from lexiseg_service.gateway.rest.job_routes import jobs_of
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import off_event_loop, validate

KIND: SourceKind = "label-studio"
VALUES_OF_A_TASK = 256  # in JSON, with what an export has beside its data
router = APIRouter()


class TaskWithId(Task):
    """A task as Label Studio exports it; predictions name its id."""

    id: int


class JobOfTasks(BaseModel):
    """Tasks of one project, and its labeling configuration."""

    tasks: list[TaskWithId] = Field(fail_fast=True)
    label_config: str


def install(app: FastAPI, prefix: str) -> None:
    """Add the routes, and fetch the pictures of tasks for the application's jobs."""
    jobs: Jobs = app.state.jobs

    async def fetch(place: str, client: str) -> ImageSource:
        return await image_of(place, "tasks", client, app.state.settings, app.state.use_case)

    jobs.fetch_by(KIND, fetch)
    app.include_router(router, prefix=prefix, include_in_schema=False)


@router.post("/jobs", status_code=202)
async def create_job(request: Request) -> Response:
    """Accept tasks; their labels are asked in the background."""
    jobs = jobs_of(request)
    body = await read_as(JobOfTasks, request, VALUES_OF_A_TASK * settings_of(request).job_pictures)
    control = await off_event_loop(len(body.label_config), partial(control_of, body.label_config))
    places = [(str(task.id), place_of(task, control, index)[1]) for index, task in enumerate(body.tasks)]
    options = {name: value for name, value in fields_of_control(control).items() if value is not None}
    asked = validate(JobInput, {"question": {**options, "classes": control.classes}})
    job, progress = await jobs.create(asked, None, caller_of(request), Tasks(KIND, places, body.label_config))
    answer = as_json(jobs.output(job, progress), 202)
    answer.headers["Location"] = f"/v1/jobs/{job.id}"
    return answer


@router.get("/jobs/{identity}/predictions")
async def get_predictions(request: Request, identity: str) -> Response:
    """The predictions that there are; tasks whose picture failed have none, and the job's results say why."""
    jobs = jobs_of(request)
    job, _ = await jobs.find(identity, caller_of(request))
    if job.kind != KIND:
        raise InvalidValue.of("identity", identity, "a job of Label Studio's tasks")
    return StreamingResponse(_written(jobs, job, await jobs.parts(job)), media_type="application/json")


def _written(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[bytes]:
    control, head = control_of(job.tool), b"["
    for line in map(orjson.loads, jobs.lines(job, parts)):
        if line["answer"] is not None:
            yield head + orjson.dumps({"task": int(line["image"]), **_prediction(line["answer"], control)})
            head = b",\n"
    yield b"]" if head != b"[" else b"[]"


def _prediction(answer: dict[str, Any], control: Control) -> dict[str, Any]:
    size = (answer["size"][0], answer["size"][1])
    notes = notes_of(AnswerWarning(**each) for each in answer["warnings"])
    write = partial(regions_of, image_id=answer["image_id"], size=size, control=control, notes=notes)
    regions = chain.from_iterable(write(_segment(each, size)) for each in answer["segments"])
    return prediction(regions, answer["model"], answer["model_digest"])


def _segment(content: dict[str, Any], size: tuple[int, int]) -> Segment:
    mask = content["mask"]
    return Segment(
        content["id"],
        content["label"],
        content["class_index"],
        content["score"],
        Rle(size, mask.get("counts", ""), content["area"], tuple(content["bbox"])),
        rings=tuple(Ring(each["exterior"], each["holes"]) for each in mask.get("rings", ())),
    )
