"""Archives that come with a JSON object, for /jobs, /heads and /trainings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.requests import Request

from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.routes import settings_of
from lexiseg_service.gateway.uploaded_archive import ARCHIVE
from lexiseg_service.question.validation import off_event_loop, parse_object, validate
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.settings import Settings

M = TypeVar("M", bound=BaseModel)
Open = Callable[[], BinaryIO]


def form_schema(archive: str, schema: str) -> dict[str, Any]:
    """The form in OpenAPI: a file that `archive` describes, and `request`, the JSON of a schema."""
    return {
        "schema": {
            "type": "object",
            "required": [ARCHIVE, "request"],
            "additionalProperties": False,
            "properties": {
                ARCHIVE: {"type": "string", "format": "binary", "description": archive},
                "request": {"type": "string", "description": f"all other fields, as the JSON object {schema}"},
            },
        }
    }


@asynccontextmanager
async def parsed(request: Request, schema: type[M], more_values: int = 0) -> AsyncIterator[tuple[M, BinaryIO | None]]:
    """The JSON of a request, and the archive of a form; it is open while the block runs."""
    settings = settings_of(request)
    if body.kind_of(request) != "multipart/form-data":
        yield await body.read_json(request, schema, settings.limits, more_values=more_values), None
        return
    form = await body.read_form(request, settings.limits, cast("Open", partial(TemporaryFile, dir=_folder(settings))))
    try:
        archives = [value for value in form.getlist(ARCHIVE) if isinstance(value, UploadFile)]
        texts = [body.text_of("request", value, settings.limits) for value in form.getlist("request")]
        if len(archives) != 1 or len(texts) != 1 or set(form) != {ARCHIVE, "request"}:
            came = ", ".join(name for name, _ in form.multi_items())[:80]
            raise InvalidValue.of(ARCHIVE, came or "no field", "one file `archive` and one JSON text `request`")
        text = texts[0].encode("utf-8", "surrogatepass")
        content = await off_event_loop(len(text), lambda: parse_object(text, settings.limits))
        yield validate(schema, content), archives[0].file
    finally:
        await form.close()


@asynccontextmanager
async def spooled(request: Request) -> AsyncIterator[BinaryIO]:
    """The body as a file, which is open while the block runs."""
    try:
        with TemporaryFile(dir=_folder(settings_of(request))) as file:
            async for piece in request.stream():
                await asyncio.to_thread(file.write, piece)
            file.seek(0)
            yield cast("BinaryIO", file)
    except OSError as error:
        raise NotReady(f"the upload cannot be kept now: {error.strerror or error}", AWAY_SECONDS) from None


def _folder(settings: Settings) -> Path | None:
    """The state directory, if there is one: other folders may be in memory."""
    return settings.state_dir or settings.trainings
