"""Tasks that *Retrieve predictions* of Label Studio left over, as a job.

The service imports their predictions into the Label Studio of its settings when the job has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request

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
from lexiseg_service.adapters.label_studio_import import Importer, can_import, import_address
from lexiseg_service.adapters.label_studio_pictures import image_of
from lexiseg_service.adapters.tools import notes_of
from lexiseg_service.batch.description import JobInput
from lexiseg_service.batch.http.jobs import Jobs, Tasks
from lexiseg_service.batch.http.routes import jobs_of
from lexiseg_service.batch.ledger.job import RETRY_SECONDS, Job, Part, Progress
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import NotReady, ServiceError
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import caller_of, settings_of
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import validate

KIND: SourceKind = "label-studio"
USE = "Settings, Model, Connect Model: ADDRESS"


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

    async def ended(job: Job) -> Iterator[dict[str, Any]]:
        return predictions(jobs, job, await jobs.parts(job))

    jobs.fetch_by(KIND, fetch)
    jobs.notify_by(KIND, Importer(app.state.settings, jobs, ended).send)
    if can_import(app.state.settings):
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
        number = number_of(body.project)
        if number is None or (body.params is not None and body.params.context is not None):
            return None  # an annotator's marks are for one task, now
        return import_address(settings_of(request), number)


def predictions(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """Predictions of the tasks that have an answer, in the form that Label Studio imports; blocks."""
    control = replace(control_of(job.tool), head=job.question.get("head"))
    for line in map(orjson.loads, jobs.lines(job, parts)):
        if line["answer"] is not None:
            yield {"task": int(line["image"]), **_prediction(line["answer"], control)}


def _prediction(answer: dict[str, Any], control: Control) -> dict[str, Any]:
    size = (answer["size"][0], answer["size"][1])
    notes = notes_of(AnswerWarning(**each) for each in answer["warnings"])
    write = partial(regions_of, image_id=answer["image_id"], size=size, control=control, notes=notes)
    regions = chain.from_iterable(write(_segment(each, size)) for each in answer["segments"])
    return prediction(regions, model_version(answer["model"], answer["model_digest"], control.head))


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
