"""The tools for language models, and what they write."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from PIL import Image
from pydantic import BaseModel, Field

from lexiseg_labels.masks import rle
from lexiseg_model.errors import PictureError
from lexiseg_model.pictures import reader
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import Segment, Task
from lexiseg_service.adapters.tools import image_of_text
from lexiseg_service.errors import InvalidValue, ServiceError, TooLarge
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.image.reader import refusal_of
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.schemas import PointInput, Question
from lexiseg_service.question.validation import validate
from lexiseg_service.settings import Settings

ImageArgument = Annotated[
    str, Field(description="a file's path, an https URL, a data URL of base64, or `id:...` of an earlier answer")
]
Words = Annotated[list[str], Field(min_length=1, description="things to look for, one word or phrase each")]
Model = Annotated[str | None, Field(description="NAME or NAME@VERSION of list_models; default: the first")]
Score = Annotated[float | None, Field(ge=0, le=1, description="lowest score of a segment; null: the model's")]
Call = Context[Any, Any]
CallerOf = Callable[[ServerRequestContext[Any, Any]], Caller]
Tool = Callable[..., Awaitable[CallToolResult]]
DIGITS = 3  # of scores and percentages
FILE = "resource with the picture as a PNG of full size, where the one beside this is reduced"
BY_ID = "id:"
WITHOUT_FILES = "a URL, a data URL or id:IMAGE_ID"
MAX_KEPT_BYTES = 32 * 2**20  # of image files for `cut_out` by id and for resources; the same of made files
MAX_SHOWN_BYTES = 512 * 1024  # of a picture in an answer: chats take messages of 1 MiB, and base64 adds a third
MAX_SHOWN_SIDE = 2048  # pixels
FILE_DIGITS = 32  # of a made file's digest, which names it
FILES = "lexiseg://files/"
PNG, WEBP = "image/png", "image/webp"
JPEG_QUALITY = 92
WEBP_QUALITY = 85


class SegmentRow(BaseModel):
    """One segment or object."""

    label: str | None = Field(description="class label; null for a point or a box")
    score: float = Field(ge=0, le=1)
    area: int = Field(ge=1, description="pixels")
    percent: float = Field(description="share of the picture")
    box: list[float] = Field(min_length=4, max_length=4, description="left, top, width, height in pixels")
    centre: list[float] = Field(min_length=2, max_length=2, description="x, y of the box's middle in pixels")


class Table(BaseModel):
    """What was found in a picture."""

    image: str = Field(description="`id:...`, which asks about the same picture again at once")
    width: int
    height: int
    segments: list[SegmentRow]
    absent: list[str] = Field(description="words of which nothing was found")
    warnings: list[str]


class Painted(Table):
    """What was found; the painted picture is the content's second block."""

    file: str | None = Field(None, description=FILE)


class CutOut(BaseModel):
    """What was cut out; the picture is the content's second block."""

    image: str
    segment: SegmentRow
    file: str | None = Field(None, description=FILE)


class Listed(BaseModel):
    """A model that can be asked."""

    name: str
    summary: str
    tasks: list[str]


class Models(BaseModel):
    """The models that can be asked, the default first."""

    models: list[Listed]


def table(answer: WorkerAnswer) -> Table:
    """An answer with the image id for further questions."""
    height, width = answer.size
    return Table(
        image=f"id:{answer.image_id}",
        width=width,
        height=height,
        segments=[row(segment, answer.size) for segment in answer.segments],
        absent=list(answer.absent),
        warnings=[warning.detail for warning in answer.warnings],
    )


def row(segment: Segment, size: tuple[int, int]) -> SegmentRow:
    x, y, width, height = segment.bbox
    share = segment.area / (size[0] * size[1])
    return SegmentRow(
        label=segment.label,
        score=round(segment.score, DIGITS),
        area=segment.area,
        percent=round(100 * share, DIGITS),
        box=[x, y, width, height],
        centre=[x + width / 2, y + height / 2],
    )


def with_tool_errors(tool: Tool) -> Tool:
    """Decorate a tool: errors of the service are raised as errors of the tool."""

    @wraps(tool)
    async def run(*arguments: Any, **named: Any) -> CallToolResult:
        try:
            return await tool(*arguments, **named)
        except ServiceError as error:
            raise ToolError(error.detail) from None

    return run


class ToolService:
    """The tools as methods; language models read their docstrings. The use case checks keys, limits and URLs."""

    def __init__(self, use_case: UseCase, settings: Settings, folder: Path | None, caller_of: CallerOf) -> None:
        self._use_case = use_case
        self.caller_of = caller_of
        self._settings = settings
        self._folder = None if folder is None else folder.resolve()
        # Files of the last pictures of all clients: (client, image id) -> file.
        self._recent: Lru[tuple[str, str], bytes] = Lru(MAX_KEPT_BYTES, lambda _, file: len(file))
        # PNGs that were reduced in an answer: (client, digest) -> file.
        self._files: Lru[tuple[str, str], bytes] = Lru(MAX_KEPT_BYTES, lambda _, file: len(file))

    async def list_models(self) -> Annotated[CallToolResult, Models]:
        """The models that can be asked, and what each can do."""
        cards = self._use_case.models()
        return result(Models.model_validate({"models": cards}))

    async def segment(
        self, context: Call, image: ImageArgument, words: Words, threshold: Score = None, model: Model = None
    ) -> Annotated[CallToolResult, Painted]:
        """Divide a picture among words: score, area and box of each, and the picture with the masks painted on."""
        fields = {"classes": words, "threshold": threshold, "model": model, "overlay": True}
        answer = await self._ask(context, image, "semantic", **fields)
        return await self._with_picture(context, Painted(**dict(table(answer))), answer.overlay)

    async def find(
        self, context: Call, image: ImageArgument, words: Words, threshold: Score = None, model: Model = None
    ) -> Annotated[CallToolResult, Table]:
        """Where things are: each object, and stuff like sky as a whole, with box, centre and score, best first."""
        rows = table(await self._ask(context, image, "panoptic", classes=words, threshold=threshold, model=model))
        rows.segments.sort(key=lambda one: -one.score)
        return result(rows)

    async def cut_out(
        self,
        context: Call,
        image: ImageArgument,
        word: Annotated[str | None, Field(description="thing to cut out")] = None,
        points: Annotated[
            list[PointInput] | None, Field(description="pixels on it and beside it, instead of a word")
        ] = None,
        box: Annotated[
            list[float] | None, Field(description="left, top, right, bottom around it, instead of a word")
        ] = None,
        model: Model = None,
    ) -> Annotated[CallToolResult, CutOut]:
        """Cut one thing out of a picture: a picture of its box, transparent around it."""
        picture = await self._picture(image, caller := self.caller_of(context.request_context))
        if picture.content is None:
            raise InvalidValue.of("image", image, "a path or a URL: the picture of this id is no longer kept")
        task: Task = "prompt" if word is None else "panoptic"
        answer = await self._ask_about(picture, caller, task, **_target_fields(word, points, box), model=model)
        best = max((one for one in answer.segments if not one.mask_index), key=lambda one: one.score, default=None)
        if best is None:
            raise InvalidValue.of("word", word, "something that is in the picture")
        content = CutOut(image=f"id:{answer.image_id}", segment=row(best, answer.size))
        return await self._with_picture(context, content, await asyncio.to_thread(cut, picture.content, best))

    async def kept_picture(self, context: Call, image_id: str) -> bytes:
        """A picture of an earlier answer to the same key, as the service sees it: upright, in sRGB."""
        content = self._recent.get((self.caller_of(context.request_context).client, image_id))
        if content is None:
            raise ResourceNotFoundError("no picture of this id is kept for this key")
        try:
            return await asyncio.to_thread(jpeg, content)
        except ServiceError as error:
            raise ResourceError(error.detail) from None

    async def made_file(self, context: Call, name: str) -> bytes:
        """A PNG that was made for the same key, and reduced in the answer."""
        content = self._files.get((self.caller_of(context.request_context).client, name))
        if content is None:
            raise ResourceNotFoundError("no file of this name is kept for this key")
        return content

    def image_ids(self, caller: Caller) -> list[str]:
        """The ids of the pictures that are kept for a caller, the last used last."""
        return [image_id for (client, image_id), _ in self._recent.items() if client == caller.client]

    async def _with_picture(self, context: Call, answer: Painted | CutOut, png: bytes | None) -> CallToolResult:
        """A result with a picture that fits into a message; where that is a reduced one the PNG becomes a resource."""
        if png is None:
            return result(answer)
        if len(png) <= MAX_SHOWN_BYTES:
            return result(answer, image_block(png, PNG))
        name = hashlib.sha256(png).hexdigest()[:FILE_DIGITS]
        key = (self.caller_of(context.request_context).client, name)
        self._files.put(key, png)
        if self._files.get(key) is not None:  # one over the limit is not kept
            answer.file = FILES + name
        return result(answer, image_block(await asyncio.to_thread(reduced, png), WEBP))

    async def _ask(self, context: Call, image: str, task: Task, **fields: Any) -> WorkerAnswer:
        caller = self.caller_of(context.request_context)
        return await self._ask_about(await self._picture(image, caller), caller, task, **fields)

    async def _picture(self, image: str, caller: Caller) -> ImageSource:
        """The picture at a path in the folder, a URL, in a data URL, or of `id:IMAGE_ID` with its file, if kept."""
        if image.startswith(BY_ID):
            image_id = image.removeprefix(BY_ID)
            return ImageSource(self._recent.get((caller.client, image_id)), image_id)
        if not image.startswith(("data:", "https://", "http://")):
            return ImageSource(await asyncio.to_thread(self._read, image))
        source = await image_of_text(image, "image")
        return source if source.url is None else ImageSource(await self._use_case.fetching.fetch(image, caller.client))

    async def _ask_about(self, picture: ImageSource, caller: Caller, task: Task, **fields: Any) -> WorkerAnswer:
        """Ask a question about a picture; a task other than prompt that the model lacks becomes semantic."""
        question = {name: value for name, value in fields.items() if value is not None}
        able = self._use_case.card(question.get("model") or self._settings.default_model).tasks
        question["task"] = task if task in able or task == "prompt" else "semantic"
        content = None if picture.id is not None else picture.content
        answer = await self._use_case.segment(validate(Question, question), ImageSource(content, picture.id), caller)
        if content is not None:
            self._recent.put((caller.client, answer.image_id), content)
        return answer

    def _read(self, name: str) -> bytes:
        """A file in the folder. Raises InvalidValue: it is outside or not there; TooLarge: it is over the limit."""
        if self._folder is None:
            raise InvalidValue.of("image", name, f"{WITHOUT_FILES}; files are read where LEXISEG_MCP_FOLDER is set")
        try:
            path = (self._folder / name).resolve()
            # `resolve` follows links, which may lead outside. The error does not tell whether a file outside exists.
            inside = path.is_relative_to(self._folder) and path.is_file()
        except (OSError, ValueError, RuntimeError):  # the last at links in a circle
            inside = False
        if not inside:
            raise InvalidValue.of("image", name, f"a picture in the folder of this server, {WITHOUT_FILES}")
        size, max_bytes = path.stat().st_size, self._settings.limits.max_image_bytes
        if size > max_bytes:
            raise TooLarge(f"image: {size:,} bytes, at most {max_bytes:,} are taken")
        return path.read_bytes()


def result(answer: BaseModel, *pictures: ImageContent) -> CallToolResult:
    """A tool's result: structured data, the same as text for models that read only text, and pictures."""
    content = answer.model_dump(exclude_unset=True)
    blocks: list[ContentBlock] = [TextContent(type="text", text=json.dumps(content)), *pictures]
    return CallToolResult(content=blocks, structured_content=content)


def image_block(picture: bytes, kind: str) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(picture).decode(), mime_type=kind)


def reduced(png: bytes) -> bytes:
    """A PNG of ours as a WebP, which may be transparent, of at most MAX_SHOWN_BYTES."""
    with Image.open(io.BytesIO(png)) as picture:
        side = min(MAX_SHOWN_SIDE, max(picture.size))
        while True:
            picture.thumbnail((side, side))
            file = io.BytesIO()
            picture.save(file, "WEBP", quality=WEBP_QUALITY)
            if len(file.getvalue()) <= MAX_SHOWN_BYTES:
                return file.getvalue()
            side = side * 3 // 4


def decoded(content: bytes) -> Image.Image:
    """An image file as the service sees it: upright, in sRGB. Raises ServiceError: only workers decode its kind."""
    try:
        return Image.fromarray(reader.read(content).rgb)
    except PictureError as error:
        raise refusal_of(error) from None


def jpeg(content: bytes) -> bytes:
    """An image file as a JPEG of all its pixels. Raises as `decoded`."""
    file = io.BytesIO()
    decoded(content).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def cut(content: bytes, segment: Segment) -> bytes:
    """Cut a segment's box out of an image file: a PNG, transparent outside the mask. Raises as `decoded`."""
    picture = decoded(content)
    x, y, width, height = segment.bbox
    mask = rle.decode(segment.mask.counts, segment.mask.size)[y : y + height, x : x + width]
    piece = picture.crop((x, y, x + width, y + height))
    piece.putalpha(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))
    file = io.BytesIO()
    piece.save(file, "PNG")
    return file.getvalue()


def _target_fields(word: str | None, points: list[PointInput] | None, box: list[float] | None) -> dict[str, Any]:
    """Fields of a question for exactly one of word, points and box."""
    named = [name for name, value in (("word", word), ("points", points), ("box", box)) if value is not None]
    if len(named) != 1:
        raise InvalidValue.of("word", " and ".join(named) or "none", "exactly one of word, points and box")
    return (
        {"classes": [word]}
        if word is not None
        else {"prompts": [{"box": box} if points is None else {"points": points}]}
    )
