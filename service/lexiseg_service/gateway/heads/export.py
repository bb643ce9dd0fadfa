"""A head as a file, from which another installation of the same model has the same head again.

    head.json         model, classes, keys of pictures
    lessons/0000      what the first picture teaches

The head itself is solved again: what a stranger's file says that it learned is not taken on trust.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import BinaryIO

from pydantic import Field

from lexiseg_labels.exports import ZipSink
from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import TeachingError, TooManyEntriesError
from lexiseg_model.files.archives import open_zip
from lexiseg_model.vocabulary.heads import MAX_BYTES, MAX_PICTURES, Lesson
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.heads.collection import Change
from lexiseg_service.gateway.heads.head import KeptPicture, NamedHead
from lexiseg_service.gateway.heads.lessons import KEY_LENGTH, classes_of
from lexiseg_service.gateway.heads.schemas import HeadInput, Key, TaughtClassInput
from lexiseg_service.question.classes import check_line
from lexiseg_service.question.validation import parse_object, validate
from lexiseg_service.settings import Limits

SUFFIX = ".head"
LISTING, ENTRY = "head.json", "lessons/{:04}"
MAX_DIRECTORY = 128 * (MAX_PICTURES + 1)  # bytes of the directory of a zip
BODY = "body"  # in errors about the file


class ExportedHead(StrictModel):
    model: str
    classes: list[TaughtClassInput]
    keys: list[Key] = Field(max_length=MAX_PICTURES)


async def pieces(
    head: NamedHead, contents: Callable[[Sequence[KeptPicture]], Awaitable[list[bytes]]]
) -> AsyncIterator[bytes]:
    """The file of a head, in memory one lesson at a time; `contents` reads lessons."""
    listing = ExportedHead(
        model=head.model,
        classes=[TaughtClassInput(name=entry.name, synonyms=list(entry.synonyms)) for entry in head.classes],
        keys=[picture.key for picture in head.pictures],
    )
    file = ZipSink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LISTING), listing.model_dump_json())
        for number, picture in enumerate(head.pictures):
            (lesson,) = await contents([picture])
            archive.writestr(zipfile.ZipInfo(ENTRY.format(number)), lesson)
            yield file.take()
    yield file.take()


def read(file: BinaryIO, limits: Limits) -> Change:
    """The whole head that `pieces` wrote, as a change. Raises InvalidValue: something else came, or it is damaged."""
    try:
        with open_zip(file, MAX_DIRECTORY) as archive:
            listing = validate(ExportedHead, parse_object(_content(archive, LISTING), limits), f"{LISTING}: ")
            lessons = [_content(archive, ENTRY.format(number)) for number in range(len(listing.keys))]
    except (zipfile.BadZipFile, TooManyEntriesError, KeyError, OSError, RuntimeError) as error:
        raise InvalidValue.of(BODY, f"a file that is none or damaged ({error})", "a head as GET exports it") from None
    classes = classes_of(HeadInput(classes=[*listing.classes]), (), limits)
    names = {entry.name for entry in classes}
    by_key: dict[str, bytes] = {}
    for number, (key, lesson) in enumerate(zip(listing.keys, lessons, strict=True)):
        field = f"{LISTING}: keys.{number}"
        if (plain := check_line(key, field, KEY_LENGTH)) in by_key:
            raise InvalidValue.of(field, key, "another key for each picture")
        by_key[plain] = _checked(lesson, key, names)
    return Change(listing.model, classes, by_key, whole=True)


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_BYTES:
        raise zipfile.BadZipFile(f"{name} is compressed, or has more than {MAX_BYTES:,} bytes")
    return archive.read(entry)


def _checked(content: bytes, key: str, names: set[str]) -> bytes:
    try:
        lesson = Lesson.from_bytes(content)
    except TeachingError as error:
        raise InvalidValue.because(BODY, f"picture {key!r}: {error}") from None
    if not names.issuperset(lesson.classes):
        raise InvalidValue.of(BODY, f"picture {key!r}", "lessons of the head's classes")
    return content
