"""Pictures of answers, read from the source once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from lexiseg_service.commands.bulk.contents import Contents, Unreadable
from lexiseg_service.commands.bulk.converting.answers import answers_of
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination
from lexiseg_service.commands.bulk.rows import Row
from lexiseg_service.errors import ServiceError
from lexiseg_service.image.header import SUFFIXES, read_header

AHEAD = 32  # pictures that are read ahead


class Picture(NamedTuple):
    """A row, and its picture as it lies in the source."""

    row: Row
    content: bytes
    suffix: str


def pictures_of(job: Job, destination: Destination, chunk: int) -> Iterator[Picture]:
    """The pictures of one chunk's answers; one that cannot be read any more is left out."""
    rows = {row["id"]: row for row in answers_of(destination, chunk)}
    items = [item for item in destination.chunk(chunk) if item.id in rows]
    limits = job.settings.limits
    with closing(Contents(job.source, limits.max_image_bytes, AHEAD)) as contents:
        for item, content in zip(items, contents.of(items), strict=True):
            if isinstance(content, Unreadable):
                continue
            try:
                suffix = SUFFIXES[read_header(content, limits).format]
            except ServiceError:
                continue
            yield Picture(rows[item.id], content, suffix)
