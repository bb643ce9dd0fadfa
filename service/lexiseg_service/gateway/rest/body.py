"""The forms of POST /segment to one (image, question): multipart/form-data, application/json, or the file itself with
the question in the query."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from lexiseg_service.errors import InvalidValue, MalformedRequest, ServiceError, TooLarge
from lexiseg_service.gateway.rest.large_bodies import beside, whole
from lexiseg_service.gateway.rest.plain_form import LARGEST, plain_form
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.examples import content_of
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import MOST_NAMES, parse_json, parse_object
from lexiseg_service.question.schemas import JsonRequest, Question
from lexiseg_service.settings import Limits

M = TypeVar("M", bound=BaseModel)
REPEATED = "classes"
MOST_FILES = 2
OTHER_FIELDS = 64  # of a form, beside its classes
IMAGE = "one file in the multipart field `image`, as curl sends it with -F image=@FILE"
SEVERAL = 'repeat the field, as classes=sky and classes=tree, or send the JSON field request={"classes": ["sky", ...]}'
LONGEST_KIND = 1024  # characters of a content-type, whose parser calls Python for each of its parts
MOST_OPTIONS = 32  # likewise, of what stands before a part of a form
AT_ONCE = 32 * 2**10  # bytes of a form that are parsed in one go
IDENTITY = b"identity"
CHARSETS = frozenset({"utf-8", "ascii"})  # some others take the square of a text's length to be read
MOST_HERE = 4 * 2**10  # characters of a form's texts, or bytes of JSON or a query; more are checked in a thread
# The file as the body. Which of them it is, its first bytes say.
RAW = frozenset(
    {*(f"image/{name}" for name in ("jpeg", "png", "webp", "heic", "heif", "avif", "bmp", "tiff")), "image/jpg"}
    | {"application/octet-stream"}
)
# Flat fields of a form that hold JSON, and what is expected of them.
FLAT_JSON = {
    "prompts": 'a JSON list, as [{"points": [{"x": 120, "y": 80}]}]',
    "background": 'true, false, or a JSON object, as {"threshold": 0.4, "words": ["wall"]}',
}
# What a query may hold beside a body that is the file itself, and beside no other.
FIELDS = frozenset({"request", *Question.model_fields})
WORDS_OF_TRUTH = {"true": True, "false": False, "1": True, "0": False}


class _Held(MultiPartParser):
    """Of forms in memory: what is read is counted, and a disk that is full, or not to be written, is nobody's fault.

    Where Starlette's own takes a text for another's alphabet, or its time for what nobody writes, this one gives up.
    """

    spool_max_size = 0  # no bound
    is_whole = False  # its last boundary has come

    def on_end(self) -> None:
        self.is_whole = True

    def on_headers_finished(self) -> None:
        if (self._current_part.content_disposition or b"").count(b";") > MOST_OPTIONS:
            raise MultiPartException(f"more than {MOST_OPTIONS} options of a part")
        super().on_headers_finished()

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError:
                name = self._current_part.field_name[:80]
                raise MultiPartException(f"the text of {name!r} is not UTF-8") from None
        super().on_part_end()


async def read(request: Request, limits: Limits) -> Asked:
    """Reads and validates a body.

    Raises:
        MalformedRequest: neither of the two forms, or a damaged one.
        TooLarge: a text of it is.
        InvalidValue: a field is unknown, missing or out of range.
    """
    kind = _kind(request)
    if kind in ("multipart/form-data", "application/json"):
        if len(request.scope["query_string"]) <= MOST_HERE:
            _refuse_fields_of(request)
        else:
            await asyncio.to_thread(_refuse_fields_of, request)
    if kind == "multipart/form-data":
        return await _read_multipart(request, limits)
    if kind == "application/json":
        content = await whole(request)
        if len(content) <= MOST_HERE:
            return _read_json(content, limits)
        return await beside(request, content, partial(_read_json, content, limits))
    if kind in RAW:
        question = await asyncio.to_thread(_question_of_query, request, limits)
        return Asked(await request.body(), question)
    raise MalformedRequest(
        f"content-type {kind or 'missing'!r}; send multipart/form-data, application/json, or the file as image/jpeg"
    )


def _kind(request: Request) -> str:
    """Of the content, without its options. What is coded beside that is not what it seems to be, and unpacked it might
    be of any size."""
    coding = next((value for name, value in request.scope["headers"] if name == b"content-encoding"), IDENTITY)
    if coding.lower() != IDENTITY:
        raise MalformedRequest(f"content-encoding {coding[:80].decode('latin-1')!r}; send the content as it is")
    whole_kind = request.headers.get("content-type", "")
    if len(whole_kind) > LONGEST_KIND:
        raise MalformedRequest(f"a content-type of {len(whole_kind):,} characters; expected at most {LONGEST_KIND:,}")
    return whole_kind.partition(";")[0].strip().lower()


async def _read_multipart(request: Request, limits: Limits) -> Asked:
    form = await _form(request, limits)
    try:
        files = [value for value in form.getlist("image") if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise InvalidValue.of("image", _instead_of_a_file(form, len(files)), IMAGE)
        image = await files[0].read()
        texts = [value for _, value in form.multi_items() if isinstance(value, str)]
        if sum(map(len, texts)) <= MOST_HERE:
            return Asked(image, _question(form, limits))
        return Asked(image, await beside(request, "".join(texts).encode(), partial(_question, form, limits)))
    finally:
        await form.close()


def _instead_of_a_file(form: FormData, files: int) -> str:
    """What came where one file was to be: without @ curl sends a file's name."""
    texts = [value for value in form.getlist("image") if isinstance(value, str)]
    if texts and not files:
        return f"the text {texts[0][:80]!r}"
    others = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != "image"]
    return f"{files} files" + (f", and one in {others[0][:80]!r}" if others and not files else "")


async def _form(request: Request, limits: Limits) -> FormData:
    stream, most = request.stream(), (MOST_FILES, _most_fields(limits), limits.max_question_bytes)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) <= LARGEST:
        body = b"".join([chunk async for chunk in stream])
        plain = plain_form(body, request.headers["content-type"], *most)
        if plain is not None:
            return plain
        stream = _in_pieces(body)
    _check_charset(request.headers["content-type"])
    max_files, max_fields, max_part_size = most
    held = _Held(request.headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)
    try:
        form = await held.parse()
    except (ServiceError, ClientDisconnect):
        raise
    except Exception as error:
        raise _unread(error, limits) from None
    if not held.is_whole:
        await form.close()
        raise MalformedRequest("the multipart body ends before its last boundary")
    return form


def _unread(error: Exception, limits: Limits) -> ServiceError:
    """What is wrong with a form that the parser gave up: beyond a limit it says what JSON would, else it is damaged."""
    detail = error.message if isinstance(error, MultiPartException) else type(error).__name__
    if detail.startswith("Too many fields"):
        return InvalidValue.of(REPEATED, f"more than {_most_fields(limits)} fields", f"at most {limits.max_classes}")
    if detail.startswith("Too many files"):
        return InvalidValue.of("image", f"more than {MOST_FILES} files", IMAGE)
    if detail.startswith("Part exceeded maximum size"):
        return TooLarge(f"a text of the form has more than {limits.max_question_bytes:,} bytes")
    return MalformedRequest(f"the multipart body cannot be read: {detail}")


def _most_fields(limits: Limits) -> int:
    return limits.max_classes + OTHER_FIELDS


async def _in_pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(body), AT_ONCE):
        yield body[at : at + AT_ONCE]
        await asyncio.sleep(0)  # others have their turn


def _check_charset(content_type: str) -> None:
    """Of a form's texts, as the parser reads it.

    Raises:
        MalformedRequest: it is another than UTF-8.
    """
    named = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    try:
        known = codecs.lookup(named).name in CHARSETS
    except (LookupError, ValueError):  # none at all; or with half a character in it
        known = False
    if not known:
        raise MalformedRequest(f"content-type with the charset {named[:80]!r}; send UTF-8")


def _question(form: FormData, limits: Limits) -> Question:
    return validate(Question, _fields(form, limits))


def _question_of_query(request: Request, limits: Limits) -> Question:
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:  # what stands for it is a word that nobody wrote
        raise MalformedRequest("the query is not UTF-8") from None
    query = request.query_params
    if "image" in query:
        raise InvalidValue.of("image", query["image"], "the file in the body alone")
    return validate(Question, _fields(query, limits))


def _refuse_fields_of(request: Request) -> None:
    """What nobody would read must not seem to have been asked."""
    if asked := [name for name in request.query_params if name in FIELDS]:
        raise InvalidValue.of(asked[0], "in the query", "in the body, unless that is the file itself")


def _fields(form: FormData | QueryParams, limits: Limits) -> dict[str, Any]:
    """One JSON field `request`, or flat fields; not both."""
    fields: dict[str, Any] = {}
    named: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        named.setdefault(name, []).append(value)
    if len(named) > MOST_NAMES:  # of each that means nothing its sender would be told
        raise TooLarge(f"there are fields of more than {MOST_NAMES} names")
    for name, values in named.items():
        if name == "image":
            continue
        if not all(isinstance(value, str) for value in values):
            raise InvalidValue.of(name, "a file", "text; only `image` is a file")
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
    """A form's text as what it stands for; anything unclear is left to validation."""
    if name in ("background", "overlay", "confidence") and value.lower() in WORDS_OF_TRUTH:
        return WORDS_OF_TRUTH[value.lower()]
    if name in ("task", "model", "vocabulary", "max_side", "background", "refine", "prompts") and value == "":
        return None
    if name == "prompts" or (name == "background" and value.lstrip().startswith("{")):
        return _flat_json(name, value, limits)
    return value


def _flat_json(name: str, value: str, limits: Limits) -> Any:
    try:
        return parse_json(value, limits)
    except MalformedRequest:
        # The form itself is as it should be: one of its fields is not.
        raise InvalidValue.of(name, value, FLAT_JSON[name]) from None


def _read_json(body: bytes | bytearray, limits: Limits) -> Asked:
    parsed = validate(JsonRequest, parse_object(body, limits))
    question = Question.model_construct(**{name: getattr(parsed, name) for name in Question.model_fields})
    sources = {name: value for name, value in parsed.image if value is not None}
    if len(sources) != 1:
        raise InvalidValue.of(
            "image", " and ".join(sources) or "none", 'exactly one of {"base64": ...}, {"url": ...} and {"id": ...}'
        )
    if parsed.image.base64 is None:
        return Asked(None, question, parsed.image.id, parsed.image.url)
    return Asked(content_of(parsed.image.base64, "image.base64"), question)


async def read_json(request: Request, schema: type[M], limits: Limits) -> M:
    """A JSON body as a schema's object.

    Raises:
        MalformedRequest: not a JSON object.
        InvalidValue: a field is unknown, missing or out of range.
    """
    kind = _kind(request)
    if kind != "application/json":
        raise MalformedRequest(f"content-type {kind or 'missing'!r}; send application/json")
    content = await whole(request)
    return await beside(request, content, lambda: validate(schema, parse_object(content, limits)))
