"""The /trainings routes, and their JSON."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lexiseg_model.cards import StrictModel
from lexiseg_service.errors import InvalidValue, SwitchedOff, UnknownTraining
from lexiseg_service.gateway.parts import Part
from lexiseg_service.gateway.rest import uploads
from lexiseg_service.gateway.rest.events import MEDIA_TYPE, followed
from lexiseg_service.gateway.rest.openapi import OF_SEGMENT, problems
from lexiseg_service.gateway.rest.paths import STABLE, answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of
from lexiseg_service.gateway.trainings.trainings import Trainings
from lexiseg_service.gateway.uploaded_archive import ARCHIVE

NAME = "trainings"
router = APIRouter(tags=["trainings"])
Identity = Annotated[
    str, Path(description="training id, from the answer of `POST /v1/trainings`", examples=["3f2504e04f8911d39a0c0305"])
]
CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": uploads.form_schema(
                "zip with the pictures and their labels, as the page and annotation tools export them", "TrainingInput"
            )
        },
    }
}
REFUSALS = problems(SwitchedOff, UnknownTraining)


class TrainingInput(StrictModel):
    """A model to be tuned on the pictures of an archive."""

    name: str = Field(description="name of the new model: at most 64 characters of a-z, 0-9 and -")
    start: str = Field("tiny", description="model to start from, as NAME or NAME@VERSION")
    dry_run: bool = Field(False, description="only say what the archive holds, in `found`; nothing is trained")


class TrainingOutput(BaseModel):
    """A training, and where it stands."""

    id: str = Field(description="training id")
    name: str = Field(description="name of the new model")
    start: str = Field(description="model that it starts from")
    state: Literal["waiting", "running", "done", "refused", "failed"] = Field(
        description="done: the model is in the list; refused: it is no better than its start, which stays; failed: "
        "`detail` and the log say why"
    )
    created: str = Field(description="time of creation, as RFC 3339 in UTC")
    started: str | None = Field(description="time at which a trainer took it; null before")
    ended: str | None = Field(description="time of its end; null before")
    expires: str | None = Field(description="time from which it is removed, some days after its end; null before")
    detail: str | None = Field(description="result or reason in a sentence, for people; null before the end")
    found: dict[str, Any] | None = Field(
        description="contents of the zip: `layout`, `classes` with `pictures` and `pixels`, `photographs` by split, "
        "`left_out` and the first `left_out_pictures` with reasons, `unknown_pixels`, `background_pixels` and "
        "`warnings`; null until it is read"
    )
    figures: dict[str, Any] | None = Field(
        description="measurements before and after: `before` and `after` with figures by class, `changes` in percent "
        "with 95 % intervals `low` to `high`, and the chosen `step`; null until they are measured"
    )


class TrainingList(BaseModel):
    """The trainings of a client."""

    trainings: list[TrainingOutput] = Field(description="trainings of this API key, the oldest first")


@router.post(
    "/trainings",
    summary="Tune a model on pictures",
    status_code=202,
    responses={202: {"model": TrainingOutput, "description": "Accepted"}, **problems(*OF_SEGMENT, SwitchedOff)},
    openapi_extra=CREATE,
)
async def create_training(request: Request) -> Response:
    """Accept pictures with labels; a trainer tunes a model on them, one training at a time.

    A model that is better than its start on left-out pictures appears in the list of models under its own name.
    """
    trainings, caller = _trainings(request), caller_of(request)
    await trainings.check(caller)  # before the archive is read
    async with uploads.parsed(request, TrainingInput) as (training_input, archive):
        if archive is None:
            raise InvalidValue.of(ARCHIVE, "no file", "a multipart form with the file `archive`")
        training = await trainings.create(
            training_input.name, training_input.start, archive, caller, dry_run=training_input.dry_run
        )
    answer = as_json(trainings.output(training), 202)
    answer.headers["Location"] = f"{STABLE}/trainings/{training.id}"
    return answer


@router.get(
    "/trainings",
    summary="List trainings",
    responses={200: {"model": TrainingList}, **problems(SwitchedOff)},
)
async def list_trainings(request: Request) -> Response:
    """List the trainings of this API key, the oldest first."""
    trainings = _trainings(request)
    return as_json({"trainings": [trainings.output(each) for each in await trainings.list_all(caller_of(request))]})


@router.get(
    "/trainings/{identity}",
    summary="One training",
    responses={200: {"model": TrainingOutput}, **REFUSALS},
)
async def get_training(request: Request, identity: Identity) -> Response:
    """Return where a training stands, and at its end the figures before and after."""
    trainings = _trainings(request)
    return as_json(trainings.output(await trainings.find(identity, caller_of(request))))


@router.get(
    "/trainings/{identity}/log",
    summary="Log of a training",
    responses={200: {"content": {"text/plain": {}}, "description": "The end of what it has printed"}, **REFUSALS},
    response_class=PlainTextResponse,
)
async def get_training_log(request: Request, identity: Identity) -> Response:
    """Return the last mebibyte of what the training has printed."""
    content = await _trainings(request).log(identity, caller_of(request))
    return PlainTextResponse(content.decode(errors="replace"))


@router.get(
    "/trainings/{identity}/events",
    summary="State and log of a training as server-sent events",
    responses={
        200: {
            "model": TrainingOutput,
            "description": "Events `state`, with the training as data, `log` with new lines, and `done` at the end",
            "content": {MEDIA_TYPE: {}},
        },
        **REFUSALS,
    },
    response_class=Response,
)
async def get_training_events(request: Request, identity: Identity) -> Response:
    """Send where the training stands and what it prints, until it ends."""
    trainings, caller = _trainings(request), caller_of(request)

    async def look() -> dict[str, Any]:
        return trainings.output(await trainings.find(identity, caller))

    return await followed(request, look, "state", partial(trainings.log, identity, caller))


@router.delete(
    "/trainings/{identity}",
    summary="End and remove a training",
    status_code=204,
    responses=REFUSALS,
)
async def delete_training(request: Request, identity: Identity) -> Response:
    """End a training, and remove its pictures and its log; a model that it made stays."""
    await _trainings(request).remove(identity, caller_of(request))
    return Response(status_code=204)


def _trainings(request: Request) -> Trainings:
    trainings: Trainings | None = request.app.state.parts[NAME]
    if trainings is None:
        raise SwitchedOff("trainings are switched off here; an operator switches them on by LEXISEG_TRAININGS=FOLDER")
    return trainings


answer_head(router)
PART = Part(NAME, router, [TrainingInput], Trainings.opened, lambda settings: settings.archive_bytes)
