"""Tasks that *Retrieve predictions* of Label Studio left over, as a job.

The service imports their predictions into the Label Studio of its settings when the job has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

import httpx
import orjson
import structlog
from fastapi import FastAPI
from starlette.requests import Request
from tenacity import RetryError

from lexiseg_labels.answers import AnswerWarning
from lexiseg_labels.data_set import model_version
from lexiseg_model.types import Ring, Rle, Segment
from lexiseg_service.adapters import label_studio, label_studio_training
from lexiseg_service.adapters.label_studio import (
    LEFT_OVER,
    Control,
    Predict,
    Task,
    control_of,
    number_of,
    place_of,
    prediction,
    regions_of,
)
from lexiseg_service.adapters.label_studio_pictures import authorization, image_of
from lexiseg_service.adapters.tools import notes_of
from lexiseg_service.batch.description import JobInput
from lexiseg_service.batch.http.jobs import Jobs, Tasks
from lexiseg_service.batch.http.notices import NotTaken, persistent
from lexiseg_service.batch.http.routes import jobs_of
from lexiseg_service.batch.ledger.job import Job, Part, Progress
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import ImageNotFetched, NotReady, ServiceError
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import caller_of, settings_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import validate
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.settings import Settings

KIND: SourceKind = "label-studio"
USE = "Settings, Model, Connect Model: ADDRESS"
logger = structlog.get_logger("lexiseg.jobs")
BATCH = 32  # predictions of one request: brushes take a hundred kilobytes each
IMPORT_SECONDS = 60.0  # for one request
# Statuses that a prediction gets for itself, as after its task was deleted.
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


def _projects(settings: Settings) -> str:
    return f"{(settings.label_studio_url or '').rstrip('/')}/api/projects/"


class Importer:
    """Imports the predictions of ended jobs, as their notice (`Jobs.notify_by`).

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
        n_delivered = await self._jobs.n_delivered(job)
        predictions = islice(predictions_of(self._jobs, job, await self._jobs.parts(job)), n_delivered, None)
        try:
            while batch := await asyncio.to_thread(lambda: list(islice(predictions, BATCH))):
                await self._import(job, address, batch)
                n_delivered += len(batch)
                await self._jobs.record_delivered(job, n_delivered)
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
        """Send predictions; returns why they are refused."""
        key = self._settings.label_studio_api_key
        assert key is not None
        url = httpx.URL(address)
        try:
            async with httpx.AsyncClient(timeout=IMPORT_SECONDS, trust_env=False) as client:
                headers = {"Authorization": await authorization(client, url, key.get_secret_value())}
                answer = await client.post(url, json=batch, headers=headers)
        except (httpx.HTTPError, ImageNotFetched) as error:
            raise NotTaken(str(error) or type(error).__name__) from error
        if answer.is_success:
            return None
        outcome = f"status {answer.status_code}: {answer.text[:200]}"
        if answer.status_code not in REFUSED:
            raise NotTaken(outcome)
        return outcome


def adapter(app: FastAPI) -> Adapter:
    """Label Studio's routes; with jobs, what requests leave over becomes one."""
    jobs: Jobs | None = app.state.parts.get("jobs")
    routers = [label_studio.router, label_studio_training.router]
    trainings = label_studio_training.Trainings()
    setattr(app.state, label_studio_training.TRAININGS, trainings)
    if jobs is None:
        return Adapter(routers, running=trainings, use=USE)

    async def fetch(place: str, client: str) -> ImageSource:
        return await image_of(place, "tasks", client, app.state.settings, app.state.use_case)

    jobs.fetch_by(KIND, fetch)
    jobs.notify_by(KIND, Importer(app.state.settings, jobs).send)
    if app.state.settings.label_studio_url and app.state.settings.label_studio_api_key:
        setattr(app.state, LEFT_OVER, LeftOverAsJob())
    return Adapter(routers, running=trainings, use=USE)


async def _create(
    request: Request, tasks: Sequence[Task], control: Control, label_config: str, address: str | None
) -> tuple[Job, Progress]:
    places = [(str(task.id), place_of(task, control, index)[1]) for index, task in enumerate(tasks)]
    question = {name: value for name, value in control.question.items() if value is not None}
    body = validate(JobInput, {"question": question})
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
                    AWAY_SECONDS,
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
