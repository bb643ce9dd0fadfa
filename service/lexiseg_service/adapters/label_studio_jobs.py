"""Label Studio's tasks as a job: its JSON export comes in, predictions for its import go out.

POST /jobs {"tasks": [...], "label_config": XML}  ->  a job of /v1/jobs
GET /jobs/ID/predictions                          ->  the body of POST /api/projects/ID/import/predictions

With the number of a `project`, and for what a request of *Retrieve predictions* left over, the service imports them
into the Label Studio of its settings when the job has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.types import Ring, Rle, Segment
from lexiseg_service.adapters import label_studio
from lexiseg_service.adapters.label_studio import (
    LEFT_OVER,
    VALUES_OF_A_TASK,
    Control,
    Predict,
    Task,
    WholeNumber,
    control_of,
    fields_of_control,
    place_of,
    prediction,
    regions_of,
)
from lexiseg_service.adapters.label_studio_import import Importer, can_import, import_address
from lexiseg_service.adapters.label_studio_pictures import image_of
from lexiseg_service.adapters.tools import notes_of, read_as
from lexiseg_service.batch.description import JobInput
from lexiseg_service.batch.http.jobs import Jobs, Tasks
from lexiseg_service.batch.http.routes import jobs_of
from lexiseg_service.batch.ledger.job import RETRY_SECONDS, Job, Part, Progress
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import off_event_loop, validate

KIND: SourceKind = "label-studio"
USE = "Settings, Model, Connect Model: ADDRESS"
router = APIRouter()


class TaskWithId(Task):
    """A task as Label Studio exports it; predictions name its id."""

    id: WholeNumber


class JobOfTasks(BaseModel):
    """Tasks of one project, its labeling configuration, and its number where predictions are to be imported."""

    tasks: list[TaskWithId] = Field(fail_fast=True)
    label_config: str
    project: Annotated[int, Field(ge=1, lt=2**63)] | None = None


def adapter(app: FastAPI) -> Adapter:
    """Label Studio's routes; with jobs also this module's, and the pictures of tasks are fetched for jobs."""
    jobs: Jobs | None = app.state.parts.get("jobs")
    if jobs is None:
        return Adapter([label_studio.router], use=USE)

    async def fetch(place: str, client: str) -> ImageSource:
        return await image_of(place, "tasks", client, app.state.settings, app.state.use_case)

    async def ended(job: Job) -> Iterator[dict[str, Any]]:
        return predictions(jobs, job, await jobs.parts(job))

    jobs.fetch_by(KIND, fetch)
    jobs.notify_by(KIND, Importer(app.state.settings, jobs, ended).send)
    if can_import(app.state.settings):
        setattr(app.state, LEFT_OVER, LeftOverAsJob())
    return Adapter([label_studio.router, router], use=USE)


@router.post("/jobs", status_code=202)
async def create_job(request: Request) -> Response:
    """Accept tasks; their labels are asked in the background."""
    body = await read_as(JobOfTasks, request, VALUES_OF_A_TASK * settings_of(request).job_pictures)
    control = await off_event_loop(len(body.label_config), partial(control_of, body.label_config))
    address = None if body.project is None else import_address(settings_of(request), body.project)
    job, progress = await _create(request, body.tasks, control, body.label_config, address)
    answer = as_json(jobs_of(request).output(job, progress), 202)
    answer.headers["Location"] = f"/v1/jobs/{job.id}"
    return answer


async def _create(
    request: Request, tasks: Sequence[Task], control: Control, label_config: str, address: str | None
) -> tuple[Job, Progress]:
    places = [(str(task.id), place_of(task, control, index)[1]) for index, task in enumerate(tasks)]
    options = {name: value for name, value in fields_of_control(control).items() if value is not None}
    body = validate(JobInput, {"question": {**options, "classes": control.classes}})
    return await jobs_of(request).create(body, None, caller_of(request), Tasks(KIND, places, label_config, address))


class LeftOverAsJob:
    """As `label_studio.LeftOver`: what a request left over is a job; its predictions are imported at its end."""

    async def refuse_while_running(self, request: Request, body: Predict) -> None:
        """Tasks that are asked twice would have two predictions."""
        address = self._address(request, body)
        for job, progress in await jobs_of(request).list_all(caller_of(request)):
            if progress.notice == "due" and job.webhook is not None and job.webhook.url == address:
                settled = progress.done + progress.failed
                raise NotReady(
                    f"job {job.id} has asked {settled:,} of {job.total:,} tasks of this project, and imports their "
                    "predictions at its end; retrieve the others then",
                    RETRY_SECONDS,
                )

    async def accept(self, request: Request, body: Predict, control: Control, after: int) -> dict[str, Any] | None:
        """Make a job of the tasks; None if they have no numbers, or no job is taken."""
        address, rest = self._address(request, body), body.tasks[after:]
        if address is None or any(task.id is None for task in rest):
            return None
        try:
            job, _ = await _create(request, rest, control, body.label_config, address)
        except ServiceError:
            return None
        detail = f"job {job.id} asks this task; its prediction is imported when the job has ended"
        return {"error": {"type": "in-job", "detail": detail}, "job": job.id}

    @staticmethod
    def _address(request: Request, body: Predict) -> str | None:
        number = str(body.project).partition(".")[0]
        if body.params is not None and body.params.context is not None:
            return None  # an annotator's marks are for one task, now
        return import_address(settings_of(request), int(number)) if re.fullmatch("[0-9]{1,18}", number) else None


@router.get("/jobs/{identity}/predictions")
async def get_predictions(request: Request, identity: str) -> Response:
    """The predictions that there are; tasks with a picture that failed have none, and the job's results say why."""
    jobs = jobs_of(request)
    job, _ = await jobs.find(identity, caller_of(request))
    if job.kind != KIND:
        raise InvalidValue.of("identity", identity, "a job of Label Studio's tasks")
    return StreamingResponse(_json_list(jobs, job, await jobs.parts(job)), media_type="application/json")


def _json_list(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[bytes]:
    head = b"["
    for each in predictions(jobs, job, parts):
        yield head + orjson.dumps(each)
        head = b",\n"
    yield b"]" if head != b"[" else b"[]"


def predictions(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """Predictions of the tasks that have an answer, in the form that Label Studio imports; blocks."""
    control = control_of(job.tool)
    for line in map(orjson.loads, jobs.lines(job, parts)):
        if line["answer"] is not None:
            yield {"task": int(line["image"]), **_prediction(line["answer"], control)}


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
