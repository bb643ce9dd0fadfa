"""Bodies of POST requests: a form, JSON, or for /segment the file itself with the question in the query."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from functools import partial
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from lexiseg_service.errors import InvalidValue, MalformedRequest, NotReady, ServiceError, TooLarge
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.prompts import source_of
from lexiseg_service.question.schemas import JsonRequest, Question
from lexiseg_service.question.validation import off_event_loop, parse_json, parse_object, validate
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.settings import Limits

M = TypeVar("M", bound=BaseModel)
REPEATED = "classes"
MAX_FILES = 2
MAX_IMAGES = 16  # of one question: some seconds of two cores, of the deadline's 30
MAX_OTHER_FIELDS = 64  # of a form, besides its classes
IMAGE = f"one file in the multipart field `image`, as curl sends it with -F image=@FILE, or up to {MAX_IMAGES}"
SEVERAL = 'repeat the field, as classes=sky and classes=tree, or send the JSON field request={"classes": ["sky", ...]}'
# Flat fields of a form that contain JSON, and what is expected of them.
FLAT_JSON = {
    "prompts": 'a JSON list, as [{"points": [{"x": 120, "y": 80}]}]',
    "background": 'true, false, or a JSON object, as {"threshold": 0.4, "words": ["wall"]}',
}
# Fields that a query may have if the body is the file itself.
FIELDS = frozenset({"request", *Question.model_fields})


class _FormParser(MultiPartParser):
    """Starlette's parser; refuses texts that are not UTF-8, and takes a file with only `filename*=` (RFC 5987).

    Files stay in memory (the body is bounded), or go to what `open_file` opens.
    """

    spool_max_size = 0  # never on a disk of its own choice
    is_whole = False
    open_file: Callable[[], BinaryIO] | None = None

    def on_end(self) -> None:
        self.is_whole = True

    def on_headers_finished(self) -> None:
        part = self._current_part
        if _has_extended_name_alone(part.content_disposition or b""):
            part.content_disposition = (part.content_disposition or b"") + b'; filename="file"'
        super().on_headers_finished()
        if part.file is not None and self.open_file is not None:
            part.file.file.close()
            part.file.file = self.open_file()
            self._files_to_close_on_error.append(part.file.file)  # type: ignore[arg-type]

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            try:
                part.data.decode()
            except UnicodeDecodeError:  # Starlette would decode it as Latin-1, to other words
                raise MultiPartException(f"the text of {part.field_name[:80]!r} is not UTF-8") from None
        super().on_part_end()


def _has_extended_name_alone(disposition: bytes) -> bool:
    if b"filename*" not in disposition.lower():
        return False
    header = Message()
    header["Content-Disposition"] = disposition.decode("latin-1")
    return isinstance(header.get_param("filename", header="Content-Disposition"), tuple)


async def read(request: Request, limits: Limits) -> tuple[Question, list[ImageSource]]:
    """Read and validate a body: a question, and one image or, of a form, up to `MAX_IMAGES`."""
    kind = kind_of(request)
    in_query = [name for name in request.query_params if name in FIELDS]
    if in_query and kind in ("multipart/form-data", "application/json"):  # they would be ignored
        raise InvalidValue.of(in_query[0], "in the query", "in the body, unless that is the file itself")
    if kind == "multipart/form-data":
        return await _read_multipart(request, limits)
    if kind == "application/json":
        content = await request.body()
        question, image = await off_event_loop(len(content), partial(_read_json, content, limits))
        return question, [image]
    if kind.startswith("image/") or kind == "application/octet-stream":  # the first bytes tell the image type
        content = await request.body()
        if "image" in request.query_params:
            raise InvalidValue.of("image", request.query_params["image"], "the file in the body alone")
        return validate(Question, _fields(request.query_params, limits)), [ImageSource(content)]
    raise MalformedRequest(
        f"content-type {kind or 'missing'!r}; send multipart/form-data, application/json, or the file as image/jpeg"
    )


async def read_json(request: Request, schema: type[M], limits: Limits, *, more_values: int = 0) -> M:
    """A JSON body as an object of a schema; it may hold `more_values` than the largest question."""
    kind = kind_of(request)
    if kind != "application/json":
        raise MalformedRequest(f"content-type {kind or 'missing'!r}; send application/json")
    content = await request.body()
    return await off_event_loop(len(content), lambda: validate(schema, parse_object(content, limits, more_values)))


def kind_of(request: Request) -> str:
    """The content type without parameters, of a body that is not compressed."""
    refuse_compressed(request)
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_compressed(request: Request) -> None:
    """Raise MalformedRequest for a compressed body, which may decompress to any size."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise MalformedRequest(f"content-encoding {coding[:80]!r}; send the content as it is")


async def _read_multipart(request: Request, limits: Limits) -> tuple[Question, list[ImageSource]]:
    form = await read_form(request, limits, max_files=MAX_IMAGES + 1)
    try:
        files = [value for value in form.getlist("image") if isinstance(value, UploadFile)]
        if not 1 <= len(files) <= MAX_IMAGES:
            raise InvalidValue.of("image", _what_came(form, len(files)), IMAGE)
        n_bytes = sum(len(value) if isinstance(value, str) else value.size or 0 for _, value in form.multi_items())
        n_bytes -= sum(file.size or 0 for file in files)
        question = await off_event_loop(n_bytes, lambda: validate(Question, _fields(form, limits)))
        if question.prompts and len(files) > 1:
            raise InvalidValue.of("image", f"{len(files)} files", "one file with prompts, which are of one image")
        return question, [ImageSource(await file.read()) for file in files]
    finally:
        await form.close()


def text_of(field: str, part: UploadFile | str, limits: Limits) -> str:
    """The text of a part of a form, which may have come as a file, as a Blob of a browser does."""
    if isinstance(part, str):
        return part
    if (part.size or 0) > limits.max_question_bytes:
        raise _too_long(limits)
    try:
        return part.file.read().decode()
    except UnicodeDecodeError:
        raise MalformedRequest(f"the text of {field!r} is not UTF-8") from None


async def read_form(
    request: Request, limits: Limits, open_file: Callable[[], BinaryIO] | None = None, max_files: int = MAX_FILES
) -> FormData:
    """A form with its files in memory, or in what `open_file` opens for one; the caller closes it."""
    max_fields = limits.max_classes + MAX_OTHER_FIELDS
    parser = _FormParser(
        request.headers,
        request.stream(),
        max_files=max_files,
        max_fields=max_fields,
        max_part_size=limits.max_question_bytes,
    )
    parser.open_file = open_file
    try:
        form = await parser.parse()
    except (ServiceError, ClientDisconnect):
        raise
    except OSError as error:
        raise NotReady(f"the upload cannot be kept now: {error.strerror or error}", AWAY_SECONDS) from None
    except Exception as error:  # a damaged form makes the parser raise undocumented errors
        raise _form_error(error, limits, max_fields, max_files) from None
    if not parser.is_whole:
        await form.close()
        raise MalformedRequest("the multipart body ends before its last boundary")
    return form


def _fields(form: FormData | QueryParams, limits: Limits) -> dict[str, Any]:
    """The fields of a form or query: one JSON field `request`, or flat fields, not both; empty ones are as not sent."""
    fields: dict[str, Any] = {}
    named: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        named.setdefault(name, []).append(value)
    for name, values in named.items():
        if name == "image":
            continue
        if name == "request":
            values = [text_of(name, value, limits) for value in values]
        if not all(isinstance(value, str) for value in values):
            raise InvalidValue.of(name, "a file", "text; only `image` is a file, and `request` may be one")
        if name in FIELDS and not (values := [value for value in values if value]):
            continue
        if len(values) > 1 and name != REPEATED:
            raise InvalidValue.of(name, f"{len(values)} times", "the field once (only `classes` repeats)")
        fields[name] = values if name == REPEATED else values[0]
    if "request" not in fields:
        refuse_unsplit(fields.get(REPEATED, []), SEVERAL)
        return {name: _flat(name, value, limits) for name, value in fields.items()}
    if len(fields) > 1:
        others = ", ".join(name for name in fields if name != "request")
        raise InvalidValue.of("request", others, "either the JSON field `request` or flat fields, not both")
    parsed = parse_json(fields["request"], limits)
    if not isinstance(parsed, dict):
        raise InvalidValue.of("request", type(parsed).__name__, "a JSON object")
    return parsed


def _flat(name: str, value: Any, limits: Limits) -> Any:
    """The value of a flat field, for validation: JSON is parsed."""
    if name != "prompts" and not (name == "background" and value.lstrip().startswith("{")):
        return value
    try:
        return parse_json(value, limits)
    except MalformedRequest:
        raise InvalidValue.of(name, value, FLAT_JSON[name]) from None


def _read_json(body: bytes | bytearray, limits: Limits) -> tuple[Question, ImageSource]:
    parsed = validate(JsonRequest, parse_object(body, limits))
    question = Question.model_construct(**{name: getattr(parsed, name) for name in Question.model_fields})
    return question, source_of(parsed.image, "image")


def _what_came(form: FormData, files: int) -> str:
    """What came instead of one file, for an error; without @, curl sends the file's name as text."""
    texts = [value for value in form.getlist("image") if isinstance(value, str)]
    if texts and not files:
        return f"the text {texts[0][:80]!r}"
    others = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != "image"]
    return f"{files} files" + (f", and one in {others[0][:80]!r}" if others and not files else "")


def _form_error(error: Exception, limits: Limits, max_fields: int, max_files: int) -> ServiceError:
    """The error for a form that the parser refused: a field over a limit, or a damaged form."""
    detail = error.message if isinstance(error, MultiPartException) else type(error).__name__
    if detail.startswith("Too many fields"):
        return InvalidValue.of(REPEATED, f"more than {max_fields} fields", f"at most {limits.max_classes}")
    if detail.startswith("Too many files"):
        return InvalidValue.of("image", f"more than {max_files} files", IMAGE)
    if detail.startswith("Part exceeded maximum size"):
        return _too_long(limits)
    return MalformedRequest(f"the multipart body cannot be read: {detail}")


def _too_long(limits: Limits) -> ServiceError:
    return TooLarge(f"a text of the form has more than {limits.max_question_bytes:,} bytes")
