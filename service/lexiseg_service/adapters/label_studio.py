"""An ML backend for Label Studio: masks for the labels of a project's configuration, and for clicks and boxes.

Labels are asked with the project's head, which `label_studio_training` teaches, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lexiseg_labels.data_set import model_version
from lexiseg_labels.formats.label_studio import brush_runs
from lexiseg_labels.formats.marks import box_corners, turned
from lexiseg_labels.masks import rle
from lexiseg_model.types import Segment
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_service.adapters.label_studio_pictures import image_of, place_of_picture
from lexiseg_service.adapters.tools import SIMPLIFY, ask, convert, notes_of, outline, prompt_of, read_as
from lexiseg_service.errors import (
    InvalidValue,
    ServiceError,
    SwitchedOff,
    UnknownHead,
    error_of,
)
from lexiseg_service.gateway.rest.head_routes import teaching_of
from lexiseg_service.gateway.rest.routes import caller_of, settings_of, use_case_of
from lexiseg_service.question.classes import check
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.validation import off_event_loop, validate

MAX_CHARACTERS, MAX_TAGS = 2**18, 2**13  # thousands of labels with their words
FIELD = "label_config"
PATH = "/refused"  # next to the routes
TOOL = "heartex/"  # begins the User-Agent
REFUSED = (400, 403, 404, 413, 415, 422)  # statuses with a name that does not say what to do
MAX_REASON = 300  # characters
WholeNumber = Annotated[int, Field(ge=0, lt=2**63)]  # of a task or a project
ProjectNumber = str | WholeNumber  # its number, in Label Studio's requests a full stop and its time after it
Kind = Literal["brushlabels", "polygonlabels", "rectanglelabels"]
# Tags for masks and boxes; of several in a configuration, the first kind of this order is predicted.
CONTROL_TAGS = ("BrushLabels", "PolygonLabels", "RectangleLabels")


def root_of(text: str, field: str) -> Element:
    """Parse a configuration in XML, with limits on its size; returns the root element."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidValue.of(field, f"{len(text):,} characters", f"at most {MAX_CHARACTERS:,}")
    if (n_tags := text.count("<")) > MAX_TAGS:
        raise InvalidValue.of(field, f"{n_tags:,} tags", f"at most {MAX_TAGS:,}")
    if "<!" in text.replace("<!--", ""):
        raise InvalidValue.of(field, "a document type or an entity", "tags alone")
    try:
        return fromstring(text)
    except (ParseError, UnicodeEncodeError) as error:  # the latter for lone surrogates
        raise InvalidValue.of(field, f"{len(text):,} characters", f"XML ({error})") from None


@dataclass(frozen=True)
class Control:
    """A control tag: where its results go, what it asks, and the data field with the image."""

    name: str  # `from_name` of its results
    to_name: str
    kind: Kind
    image_field: str  # of a task's data
    classes: list[dict[str, Any]]  # of a question
    options: dict[str, Any]  # other fields of it
    head: str | None = None  # NAME@VERSION that knows the classes, too

    @property
    def fields(self) -> dict[str, Any]:
        """What a question about a task has in addition to its classes or prompts."""
        fields = {**self.options, "mask": "rle"}
        return fields | {"mask": "polygon", "simplify": SIMPLIFY} if self.kind == "polygonlabels" else fields

    @property
    def question(self) -> dict[str, Any]:
        return {**self.fields, "classes": self.classes, "head": self.head}

    def label_of(self, text: str) -> str | None:
        """The label as it is written in the configuration, for a label of an answer or one of its words."""
        return self._by_word.get(folded(text))

    @cached_property
    def _by_word(self) -> dict[str, str]:
        # A name counts before a word, of the words that two classes have the first.
        words = [(word, entry["name"]) for entry in reversed(self.classes) for word in entry["synonyms"]]
        return {folded(word): name for word, name in (*words, *((each["name"],) * 2 for each in self.classes))}


def control_of(label_config: str) -> Control:
    """Find the control tag that predictions are for.

    A label may have words, `predicted_values="car,lorry"`; the tag may have `model_score_threshold`, `model_name` and
    `model_task`.
    """
    root = root_of(label_config, FIELD)
    images = {tag.get("name"): tag.attrib["value"].removeprefix("$") for tag in root.iter("Image") if tag.get("value")}
    for name in CONTROL_TAGS:
        for tag in root.iter(name):
            image_field = images.get(tag.get("toName"))
            if image_field and tag.get("toName") and tag.get("name"):
                classes = [_class(label) for label in tag.iter("Label")]
                names = {"task": "model_task", "model": "model_name", "threshold": "model_score_threshold"}
                options = {field: tag.get(spelling) for field, spelling in names.items()}
                kind = cast("Kind", tag.tag.lower())
                return Control(tag.attrib["name"], tag.attrib["toName"], kind, image_field, classes, options)
    expected = f"one of {', '.join(CONTROL_TAGS)} with `name`, and `toName` of an Image with `value`, of one picture"
    raise InvalidValue.of(FIELD, ", ".join(sorted({tag.tag for tag in root.iter()})), expected)


def _class(label: Element) -> dict[str, Any]:
    value, words = label.get("value", ""), label.get("predicted_values", "").split(",")
    name = label.get("alias") or value  # as regions are labelled
    words = [word.strip() for word in (value, *words)]
    return {"name": name, "synonyms": [word for word in words if word and folded(word) != folded(name)]}


class Value(BaseModel):
    """A point, or a box by its top left corner and size, in percent of the image; its labels are extra fields.

    A text area has only texts.
    """

    model_config = {"extra": "allow"}

    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0
    rotation: Annotated[float, Field(allow_inf_nan=False)] = 0  # degrees clockwise, around the corner
    text: Annotated[list[str], Field(fail_fast=True, max_length=2**12)] | Annotated[str, Field(max_length=2**12)] = []


class ContextRegion(BaseModel):
    """A point or box that an annotator has drawn, or words that he has typed into a text area."""

    type: str
    value: Value
    original_width: Annotated[int, Field(ge=0, lt=2**31)] = 0
    original_height: Annotated[int, Field(ge=0, lt=2**31)] = 0
    is_positive: bool = True


class Context(BaseModel):
    """The points and boxes of one region, or typed words."""

    result: list[ContextRegion] = Field([], fail_fast=True)


def fields_of(context: Context) -> dict[str, Any]:
    """The points and boxes of a region as fields of a question, in pixels."""
    points, boxes = [], []
    for region in context.result:
        value, width, height = region.value, region.original_width / 100, region.original_height / 100
        if region.type.startswith("keypoint"):
            points.append((value.x * width, value.y * height, region.is_positive))
        elif region.type.startswith("rectangle"):
            corner = value.x * width, value.y * height
            corners = turned(box_corners(*corner, value.width * width, value.height * height), corner, value.rotation)
            xs, ys = zip(*corners, strict=True)
            right, bottom = min(max(xs), region.original_width), min(max(ys), region.original_height)
            boxes.append((max(min(xs), 0), max(min(ys), 0), right, bottom))
    return prompt_of(points, boxes)


def words_of(context: Context) -> list[str]:
    """The words of text areas, between commas or in texts of their own."""
    texts = [region.value.text for region in context.result if region.type == "textarea"]
    listed = chain.from_iterable([text] if isinstance(text, str) else text for text in texts)
    return list(dict.fromkeys(word.strip() for text in listed for word in text.split(",") if word.strip()))


def label_of(context: Context) -> str | None:
    """The label that the annotator chose for the region; None without one."""
    for region in context.result:
        extra = region.value.model_extra or {}
        labels = extra.get(region.type) or extra.get("labels")
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return None


def regions_of(
    segment: Segment,
    *,
    image_id: str,
    size: tuple[int, int],
    control: Control,
    notes: Mapping[int | None, str],
    label: str | None = None,
) -> list[dict[str, Any]]:
    """A segment as regions of a control tag, with its word and the note on it; `label` is for one without."""
    name = label if segment.label is None else control.label_of(segment.label) or label or segment.label
    word = None if segment.label == name else segment.label
    texts = [text for text in (word, notes.get(segment.class_index)) if text]
    return [
        {
            "id": f"{image_id[:8]}-{segment.id}-{index}",
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.kind,
            "original_width": size[1],
            "original_height": size[0],
            "image_rotation": 0,
            "value": {**shape, control.kind: [] if name is None else [name]},
            "score": segment.score,
            "readonly": False,
            **({"meta": {"text": texts}} if texts else {}),
        }
        for index, shape in enumerate(_shapes(segment, size, control.kind))
    ]


def prediction(regions: Iterable[dict[str, Any]], version: str) -> dict[str, Any]:
    """Regions as a prediction of a model's version, with their mean score."""
    result = list(regions)
    scores = [region["score"] for region in result]
    mean = sum(scores) / len(scores) if scores else 0.0
    return {"result": result, "score": mean, "model_version": version}


def _shapes(segment: Segment, size: tuple[int, int], kind: Kind) -> list[dict[str, Any]]:
    """A segment as values of a control tag: a polygon for each part, or one box or brush; in percent of the image."""
    height, width = size
    if kind == "polygonlabels":
        parts = [[[100 * x / width, 100 * y / height] for x, y in outline(ring)] for ring in segment.rings]
        return [{"points": points, "closed": True} for points in parts]
    if kind == "rectanglelabels":
        x, y, w, h = segment.bbox
        box = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
        return [{**box, "rotation": 0}]
    return [{"format": "rle", "rle": list(brush_runs(rle.decode(segment.mask.counts, segment.mask.size)))}]


class Task(BaseModel):
    """A task of a project; one of its data fields is the image."""

    id: WholeNumber | None = None
    data: dict[str, Any]


def place_of(task: Task, control: Control, index: int) -> tuple[str, str]:
    """The field of task number `index` that names its image, for messages, and where that is fetched."""
    field, value = f"tasks.{index}.data.{control.image_field}", task.data.get(control.image_field)
    if not isinstance(value, str):
        raise InvalidValue.of(field, value, "the image's URL")
    return field, place_of_picture(value, task.id)


async def predict_task(
    request: Request, control: Control, task: Task, context: Context | None, index: int
) -> dict[str, Any]:
    """Predict task number `index`: the masks of its labels, or the mask for an annotator's clicks."""
    field, value = place_of(task, control, index)
    image = await image_of(value, field, caller_of(request).client, settings_of(request), use_case_of(request))
    question, label = control.question, None
    if context is not None and (words := words_of(context)):
        question = {**control.fields, "classes": words}
        label = label_of(context) or (control.classes[0]["name"] if control.classes else None)
    elif context is not None and context.result:
        question = {**control.fields, "threshold": None, **fields_of(context)}  # the tag's threshold is meant for words
        label = label_of(context)
    answer = await ask(request, question, image)
    notes, size = notes_of(answer.warnings), answer.size
    write = partial(regions_of, image_id=answer.image_id, size=size, control=control, notes=notes, label=label)
    version = model_version(answer.model, answer.model_digest, control.head)
    content = prediction(chain.from_iterable(await convert(answer, write)), version)
    return {**content, "warnings": [each.detail for each in answer.warnings]}  # seen where a model is tested


class ReasonRoute(APIRoute):
    """A route for POSTs that Label Studio shows with the reason of a refusal; its router has `refuse`, too.

    Its log, and `errors` of its API, have only the status and the URL of an answer. So a refused POST leads to a GET
    (303) of an address with the reason in its query, which is refused with the same status.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_send_on(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                of_tool = request.headers.get("user-agent", "").startswith(TOOL)
                if request.method != "POST" or error.status not in REFUSED or not of_tool:
                    raise
                query = urlencode({"type": error.type, "reason": error.detail[:MAX_REASON]}, safe=":,'`()/")
                return RedirectResponse(f".{PATH}?{query}", 303)

        return handle_or_send_on


async def refuse(type: str, reason: str) -> None:
    """The address that refused requests lead to, `PATH` of a router."""
    error = error_of(type, reason[:MAX_REASON])
    raise error if error.status in REFUSED else InvalidValue(error.detail)


router = APIRouter(route_class=ReasonRoute)
router.get(PATH)(refuse)


class Parameters(BaseModel):
    """`context`: an annotator's marks, for interactive predictions."""

    context: Context | None = None


class Predict(BaseModel):
    """The body of a prediction request."""

    tasks: list[Task] = Field(fail_fast=True)
    label_config: str
    project: ProjectNumber = ""
    params: Parameters | None = None


@router.get("/")
@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "UP", "model_class": "lexiseg"}


class Setup(BaseModel):
    """The body of the tool's setup request; `schema` is the project's configuration."""

    label_config: str = Field("", alias="schema")
    project: ProjectNumber = ""


@router.post("/setup")
async def setup(request: Request) -> dict[str, str]:
    """Answer the tool's setup request with the version of predictions.

    A project without labels yet is connected; one with labels of no picture, or that no question may have, is refused,
    as its tasks would be.
    """
    body = await read_as(Setup, request)
    if "toName" in body.label_config:
        control = await off_event_loop(len(body.label_config), partial(control_of, body.label_config))
        if control.classes:
            check(validate(Question, {"classes": control.classes}).classes, True, settings_of(request).limits)
    return {"model_version": version_of(request, await head_of(request, body.project))}


@router.get("/versions")
async def versions(request: Request, project: str = "") -> dict[str, list[str]]:
    """The version of the default model, with that of the project's head."""
    return {"versions": [version_of(request, await head_of(request, project))]}


def version_of(request: Request, head: str | None) -> str:
    default = use_case_of(request).models()[0]
    return model_version(default["name"], default["digest"], head)


async def head_of(request: Request, project: ProjectNumber) -> str | None:
    """NAME@VERSION of the head that the project's annotations taught; None: there is none."""
    number = number_of(project)
    if number is None:
        return None
    try:
        return (await teaching_of(request).heads.find(head_name(number), caller_of(request).owner)).exact_name
    except (UnknownHead, SwitchedOff):
        return None


def number_of(project: ProjectNumber) -> int | None:
    number = str(project).partition(".")[0]
    return int(number) if re.fullmatch("[0-9]{1,18}", number) else None


def head_name(project: int) -> str:
    return f"label-studio-{project}"
