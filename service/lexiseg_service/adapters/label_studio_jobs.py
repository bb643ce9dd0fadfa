"""Tasks that *Retrieve predictions* of Label Studio left over, as a job.

The service imports their predictions into the Label Studio of its settings when the job has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

import httpx
import orjson
import structlog
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from tenacity import RetryError

from lexiseg_labels.answers import AnswerWarning
from lexiseg_labels.data_set import model_version
from lexiseg_model.types import Ring, Rle, Segment
from lexiseg_service.adapters import label_studio, label_studio_training
from lexiseg_service.adapters.label_studio import (
    Control,
    Predict,
    ReasonRoute,
    control_of,
    head_of,
    number_of,
    place_of,
    predict_task,
    prediction,
    regions_of,
    version_of,
)
from lexiseg_service.adapters.label_studio_pictures import authorization, image_of
from lexiseg_service.adapters.tools import notes_of, read_as
from lexiseg_service.batch.description import JobInput
from lexiseg_service.batch.http.jobs import Jobs, Tasks
from lexiseg_service.batch.http.notices import NotTaken, persistent
from lexiseg_service.batch.http.routes import jobs_of
from lexiseg_service.batch.ledger.job import Job, Part, ask_ledger
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import (
    DeadlineExceeded,
    ImageNotFetched,
    InvalidValue,
    NotReady,
    QueueFull,
    RateLimited,
    ServiceError,
)
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import off_event_loop, validate
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.settings import Settings

MAX_TASKS = 4096  # of a request, where jobs do not take what it leaves over
VALUES_OF_A_TASK = 256  # in JSON, with what an export has in addition to its data
OVERLOAD = (RateLimited, QueueFull, DeadlineExceeded, NotReady)  # errors after which further tasks are not tried
KIND: SourceKind = "label-studio"
USE = "Settings, Model, Connect Model: ADDRESS"
logger, request_logger = structlog.get_logger("lexiseg.jobs"), structlog.get_logger("lexiseg.label-studio")
router = APIRouter(route_class=ReasonRoute)
BATCH = 32  # predictions of one request: brushes take a hundred kilobytes each
IMPORT_SECONDS = 60.0  # for one request
# Statuses that a prediction gets for itself, as after its task was deleted.
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


def _projects(settings: Settings) -> str:
    return f"{(settings.label_studio_url or '').rstrip('/')}/api/projects/"


class Importer:
    """Imports the predictions of ended jobs, as their notice (`Jobs.join`).

    Where a gateway is gone another goes on after the last batch that was recorded, so a task may get two predictions.
    """

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings = settings
        self._jobs = jobs

    async def send(self, job: Job, content: Mapping[str, Any]) -> bool:
        """Import a job's predictions; False: Label Studio has not taken them for a day, or is another one now."""
        address = "" if job.webhook is None else job.webhook.url
        if not address.startswith(_projects(self._settings)):  # the token is for the Label Studio of the settings
            logger.warning("predictions given up", job=job.id, error=f"LEXISEG_LABEL_STUDIO_URL is not of {address}")
            return False
        progress = await ask_ledger(self._jobs.ledger.progress, job.id)
        n_delivered = 0 if progress is None else progress.n_delivered
        parts = await ask_ledger(self._jobs.ledger.parts, job.id)
        predictions = islice(predictions_of(self._jobs, job, parts), n_delivered, None)
        try:
            while batch := await asyncio.to_thread(lambda: list(islice(predictions, BATCH))):
                await self._import(job, address, batch)
                n_delivered += len(batch)
                await ask_ledger(self._jobs.ledger.update, job.id, {"n_delivered": n_delivered})
        except RetryError as error:
            logger.warning("predictions given up", job=job.id, error=str(error.last_attempt.exception()))
            return False
        return True

    async def _import(self, job: Job, address: str, batch: list[dict[str, Any]]) -> None:
        """Import a batch; one that is refused goes prediction by prediction, and refused ones are logged."""
        refusal: str | None = await persistent()(self._post, address, batch)
        if refusal is not None and len(batch) == 1:
            logger.warning("prediction refused", job=job.id, task=batch[0]["task"], error=refusal)
        elif refusal is not None:
            for each in batch:
                await self._import(job, address, [each])

    async def _post(self, address: str, batch: list[dict[str, Any]]) -> str | None:
        try:
            async with httpx.AsyncClient(timeout=IMPORT_SECONDS, trust_env=False) as client:
                headers = await authorization(client, self._settings)
                answer = await client.post(address, json=batch, headers=headers)
        except (httpx.HTTPError, ImageNotFetched) as error:
            raise NotTaken(str(error) or type(error).__name__) from error
        if answer.is_success:
            return None
        outcome = f"status {answer.status_code}: {answer.text[:200]}"
        if answer.status_code not in REFUSED:
            raise NotTaken(outcome)
        return outcome


@router.post("/predict")
async def predict(request: Request) -> Response:
    """A prediction for each task: the masks of its labels, or the mask for an annotator's clicks.

    Each task counts as a request, and all share one deadline. A task that could not be asked has an `error` in place of
    a `result`: Label Studio logs it and stores nothing for the task, while an empty `result` would be stored as
    "nothing found". If all fail, the response is the first error. What the deadline or a limit left over becomes a job
    where jobs are on. `tasks` counts what became of them: Label Studio's own *Retrieved N predictions* is the number of
    tasks that were chosen, whatever the answer.
    """
    settings = settings_of(request)
    takes_jobs = bool(settings.jobs and settings.label_studio_url and settings.label_studio_api_key)
    max_tasks = max(MAX_TASKS, settings.job_pictures) if takes_jobs else MAX_TASKS
    body = await read_as(Predict, request, VALUES_OF_A_TASK * max_tasks)
    if len(body.tasks) > max_tasks:
        raise InvalidValue.of("tasks", f"{len(body.tasks):,} tasks", f"at most {max_tasks:,}")
    control = await off_event_loop(len(body.label_config), partial(control_of, body.label_config))
    control = replace(control, head=await head_of(request, body.project))
    if takes_jobs and len(body.tasks) > 1:
        await _refuse_while_running(request, body)
    outcomes, reason = await _outcomes(request, body, control)
    n_asked = len(outcomes)
    if reason is not None:
        instead = await _as_job(request, body, control, n_asked) if takes_jobs else None
        outcomes += [instead or _failed(reason)] * (len(body.tasks) - n_asked)
        if instead is None and not any("result" in outcome for outcome in outcomes):
            raise reason
    n_answers = sum("result" in outcome for outcome in outcomes)
    tasks = {"done": n_answers, "problem": n_asked - n_answers, "not_yet": len(body.tasks) - n_asked}
    if len(body.tasks) > 1:
        request_logger.info("tasks asked", project=str(body.project), **tasks)
    return as_json({"results": outcomes, "model_version": version_of(request, control.head), "tasks": tasks})


async def _outcomes(
    request: Request, body: Predict, control: Control
) -> tuple[list[dict[str, Any]], ServiceError | None]:
    """Predictions or errors of the first tasks, and why the others were not asked; None: there are no others."""
    context = None if body.params is None else body.params.context
    limits: ClientLimits = request.app.state.client_limits
    seconds = settings_of(request).deadline_seconds
    outcomes: list[dict[str, Any]] = []
    errors: list[ServiceError] = []
    try:
        async with asyncio.timeout(seconds):
            for index, task in enumerate(body.tasks):
                if index:  # the request itself counts for the first
                    await limits.count(caller_of(request).client)
                try:
                    # A task of its own on the event loop: the bytes of its picture are released at its end.
                    working = asyncio.create_task(predict_task(request, control, task, context, index))
                    outcomes.append(await working)
                except OVERLOAD:
                    raise
                except ServiceError as error:
                    errors.append(error)
                    outcomes.append(_failed(error))
    except TimeoutError:
        return outcomes, DeadlineExceeded(f"no answer within the deadline of {seconds:g} seconds for all tasks")
    except OVERLOAD as error:
        return outcomes, error
    if errors and len(errors) == len(outcomes):
        raise errors[0]
    return outcomes, None


def _failed(error: ServiceError) -> dict[str, Any]:
    return {"error": {"type": error.type, "detail": error.detail}}


async def _refuse_while_running(request: Request, body: Predict) -> None:
    """Raise NotReady while a job asks tasks of the project: tasks that are asked twice would have two predictions."""
    address = _address(request, body)
    for job, progress in await jobs_of(request).list_all(caller_of(request)):
        if progress.notice == "due" and job.webhook is not None and job.webhook.url == address:
            settled = job.total - progress.left
            raise NotReady(
                f"job {job.id} has asked {settled:,} of {job.total:,} tasks of this project, and imports their "
                "predictions at its end; retrieve the others then",
                AWAY_SECONDS,
            )


async def _as_job(request: Request, body: Predict, control: Control, after: int) -> dict[str, Any] | None:
    """The answer for each task behind the first `after`, which a job asks; None: no job is taken for them."""
    address, rest = _address(request, body), body.tasks[after:]
    if address is None or any(task.id is None for task in rest):
        return None
    question = {name: value for name, value in control.question.items() if value is not None}
    try:
        places = [(str(task.id), place_of(task, control, index)[1]) for index, task in enumerate(rest)]
        tasks = Tasks(KIND, places, body.label_config, address)
        job_input = validate(JobInput, {"question": question})
        job, _ = await jobs_of(request).create(job_input, None, caller_of(request), tasks)
    except ServiceError:
        return None
    detail = f"job {job.id} asks this task; its prediction is imported when the job has ended"
    return {"error": {"type": "in-job", "detail": detail}, "job": job.id}


def _address(request: Request, body: Predict) -> str | None:
    number = number_of(body.project)
    if number is None or (body.params is not None and body.params.context is not None):
        return None  # an annotator's marks are for one task, now
    return f"{_projects(settings_of(request))}{number}/import/predictions"


def predictions_of(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """Predictions of the tasks that have an answer, in the form that Label Studio imports; blocks."""
    control = replace(control_of(job.tool), head=job.question.get("head"))
    for line in map(orjson.loads, jobs.lines(job, parts)):
        if line["answer"] is not None:
            answer = line["answer"]
            size = (answer["size"][0], answer["size"][1])
            notes = notes_of(AnswerWarning(**each) for each in answer["warnings"])
            write = partial(regions_of, image_id=answer["image_id"], size=size, control=control, notes=notes)
            regions = chain.from_iterable(write(_segment(each, size)) for each in answer["segments"])
            version = model_version(answer["model"], answer["model_digest"], control.head)
            yield {"task": int(line["image"]), **prediction(regions, version)}


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


def adapter(app: FastAPI) -> Adapter:
    """Label Studio's routes; with jobs, what requests leave over becomes one."""
    jobs: Jobs | None = app.state.parts.get("jobs")
    routers = [label_studio.router, router, label_studio_training.router]
    trainings = label_studio_training.Trainings()
    setattr(app.state, label_studio_training.TRAININGS, trainings)
    if jobs is None:
        return Adapter(routers, running=trainings, use=USE)

    async def fetch(place: str, client: str) -> ImageSource:
        return await image_of(place, "tasks", client, app.state.settings, app.state.use_case)

    jobs.join(KIND, fetch, Importer(app.state.settings, jobs).send)
    return Adapter(routers, running=trainings, use=USE)
