"""Label Studio's annotations teach a head, which the project's next predictions are asked with.

*Start training*, or every tenth annotation -> the project's JSON export and its pictures -> a head named for it
"""

from __future__ import annotations

import asyncio
import time
import zipfile
from collections.abc import Sequence
from functools import partial
from tempfile import TemporaryFile
from typing import Annotated, Any, BinaryIO

import httpx
import orjson
import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.label_studio import tasks_of
from lexiseg_service.adapters.label_studio import Control, ReasonRoute, Task, control_of, head_name, place_of
from lexiseg_service.adapters.label_studio_pictures import content_at, image_of
from lexiseg_service.adapters.tools import read_as
from lexiseg_service.errors import ImageNotFetched, InvalidValue, ServiceError, TooLarge, UrlFetchOff
from lexiseg_service.gateway.heads.reviewed_set import MAX_ARCHIVE_BYTES
from lexiseg_service.gateway.heads.schemas import HeadInput
from lexiseg_service.gateway.image_requests import gather_limited
from lexiseg_service.gateway.rest.head_routes import teaching_of
from lexiseg_service.gateway.rest.routes import caller_of, settings_of, until_disconnect, use_case_of
from lexiseg_service.question.validation import off_event_loop, validate
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares

logger = structlog.get_logger("lexiseg.label-studio")
EVERY = 10  # annotations, after which a project's head is taught again
MAX_TASKS = 200  # annotated last, of which a head is taught
MAX_EXPORT_BYTES = 32 * 2**20  # of a project's annotations
MAX_BACKGROUND = 2  # projects that events teach at a time, one of each client
KEEP_DAYS = 90.0  # of a head after its last training
SETTINGS = "LEXISEG_LABEL_STUDIO_URL and LEXISEG_LABEL_STUDIO_API_KEY, to fetch annotations"
MAX_VALUES = 2**20  # of an event in JSON: the strokes of an annotation
LISTING = "tasks.json"
TRAININGS = "label_studio_trainings"  # the application's `Trainings`
router = APIRouter(route_class=ReasonRoute)


class Project(BaseModel):
    """A project in an event: its number, its labels, and how many annotations it has."""

    id: Annotated[int, Field(ge=1, lt=2**63)]
    label_config: str = ""
    total_annotations_number: int = 0


class Event(BaseModel):
    """What has happened; events without a project concern nobody here."""

    action: str = ""
    project: Project | None = None


class Trainings:
    """Trainings in the background, of which the gateway's end is the end; a later event trains again."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = Shares("projects that are taught", MAX_BACKGROUND, CLIENT_SHARE)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        for task in self._running.values():
            task.cancel()

    def begin(self, request: Request, project: Project) -> None:
        """Teach a project's head, unless it is being taught or enough others are."""
        caller = caller_of(request)
        name = f"{caller.owner}~{project.id}"

        async def train() -> None:
            try:
                with self._places.take(caller.client):
                    await _train(request, project)
            except ServiceError as error:
                logger.warning("project not taught", project=project.id, error=error.detail)
            finally:
                del self._running[name]

        if name not in self._running:
            self._running[name] = asyncio.create_task(train())


@router.post("/webhook", status_code=201)
async def webhook(request: Request) -> dict[str, Any]:
    """Teach the project's head: for *Start training* at once, after every tenth annotation in the background.

    Label Studio waits a second for the answer to an event, and shows why a training is refused.
    """
    event = await read_as(Event, request, MAX_VALUES)
    project = event.project
    if project is None:
        return {}
    if event.action == "START_TRAINING":
        return {"model_version": await until_disconnect(request, _train(request, project))}
    if event.action == "ANNOTATION_CREATED" and project.total_annotations_number % EVERY == 0:
        trainings: Trainings = getattr(request.app.state, TRAININGS)
        trainings.begin(request, project)
    return {}


async def _train(request: Request, project: Project) -> str:
    """Teach the head of a project by all its annotations; returns NAME@VERSION of it."""
    settings, caller = settings_of(request), caller_of(request)
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        raise InvalidValue.of("project", project.id, f"none without {SETTINGS}")
    control = await off_event_loop(len(project.label_config), partial(control_of, project.label_config))
    head_input = {"classes": control.classes, "model": control.options["model"], "keep_days": KEEP_DAYS}
    tasks = await _annotated(project.id, settings, control)
    # As an archive that is sent: other folders than the state directory may be in memory.
    with TemporaryFile(dir=settings.state_dir or settings.trainings) as file:
        await _write(request, tasks, control, file)
        name = head_name(project.id)
        head = await teaching_of(request).teach(name, validate(HeadInput, head_input), caller, file, whole=True)
    if all(each["kept"] == "words" for each in head.solved.report() if each["pictures"]):
        raise InvalidValue(
            f"declined, no gain: what {len(tasks)} annotated tasks teach finds no label better than its words do; "
            "they stay; annotate more tasks"
        )
    logger.info("project taught", project=project.id, tasks=len(tasks), head=head.exact_name)
    return head.exact_name


async def _annotated(project: int, settings: Settings, control: Control) -> list[dict[str, Any]]:
    """The annotated tasks of a project, without the marks on pictures that predictions are not for."""
    url = httpx.URL(f"{(settings.label_studio_url or '').rstrip('/')}/api/projects/{project}/export?exportType=JSON")
    content = await content_at(url, settings, MAX_EXPORT_BYTES)
    if not isinstance(content, bytes):
        raise ImageNotFetched(f"Label Studio leads to another host for the annotations of project {project}")
    try:
        tasks = tasks_of(await off_event_loop(len(content), partial(orjson.loads, content)))
        for each in (annotation for task in tasks for annotation in task["annotations"]):
            each["result"] = [mark for mark in each["result"] if mark.get("to_name") == control.to_name]
    except (UnreadableLabels, orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise InvalidValue.of("project", project, f"annotated tasks ({error})") from None
    return sorted(tasks, key=lambda task: str(task.get("updated_at", "")))[-MAX_TASKS:]


async def _write(request: Request, tasks: Sequence[dict[str, Any]], control: Control, file: BinaryIO) -> None:
    """Write tasks and their pictures as a zip of Label Studio's layout, in which tasks without a picture are left out.

    Raises ServiceError: no picture can be fetched, or they are too large.
    """
    use_case, settings, client = use_case_of(request), settings_of(request), caller_of(request).client
    deadline = time.monotonic() + settings.deadline_seconds
    left = MAX_ARCHIVE_BYTES
    readable: list[dict[str, Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        async def fetch(number: int, task: dict[str, Any]) -> ServiceError | None:
            nonlocal left
            try:
                field, place = place_of(validate(Task, task, f"tasks.{number}."), control, number)
                image = await image_of(place, field, client, settings, use_case)
                content = image.content
                if content is None:
                    fetched = partial(use_case.fetching.fetch_uncounted, image.url or "", client)
                    content = await use_case.fetching.counted(client, fetched)
            except (ImageNotFetched, InvalidValue, UrlFetchOff) as error:
                logger.warning("task left out", task=task.get("id"), error=error.detail)
                return error
            left -= len(content)
            if left < 0:
                raise TooLarge(f"tasks: pictures of over {MAX_ARCHIVE_BYTES:,} bytes; shrink them")
            archive.writestr(f"{number}.jpg", content)
            readable.append({**task, "data": {control.image_field: f"{number}.jpg"}})
            return None

        errors = await gather_limited([partial(fetch, number, task) for number, task in enumerate(tasks)], deadline)
        if not readable and errors[0] is not None:
            raise errors[0]
        archive.writestr(LISTING, orjson.dumps(readable))
    file.seek(0)
