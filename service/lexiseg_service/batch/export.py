"""Export the answers of a finished job to other formats: each in a folder of its name, as DST/coco, DST/webdataset.

Files of an earlier export are replaced. Pictures are read from the source again; unreadable ones are left out.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeAlias

from lexiseg_client.calling.mapping import map_threads
from lexiseg_labels.data_set import DataSet, File, Format, picture_of
from lexiseg_labels.data_set import Picture as Labelled
from lexiseg_labels.exports import format_of, pieces
from lexiseg_labels.names import Names, safe_name
from lexiseg_labels.picture_names import suffix_of, suffix_of_format
from lexiseg_model.files.archives import add_file
from lexiseg_service.batch.chunks import BulkJob
from lexiseg_service.batch.ledger.folder import Destination, Size
from lexiseg_service.batch.rows import OK, Row, answer_of
from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.errors import ServiceError
from lexiseg_service.image.reader import read_header

UNSAFE_IN_KEYS = re.compile(r"[^\w\-/]+")  # a dot would end a key of webdataset
Write: TypeAlias = "Callable[[BulkJob, Destination, Size], None]"
WEBDATASET = "webdataset"  # a format of bulk only
PICTURES_AHEAD = 32  # pictures that are read ahead


def write_labels(kind: Format, job: BulkJob, destination: Destination, size: Size) -> None:
    """A data set of labels; the pictures are read from the source again where it holds them."""
    classes = [entry.name for entry in job.vocabulary.classes]
    left_out: set[str] = set()  # cannot be read again
    read_anew = _read_anew(job, destination, size, left_out)
    for picture in _pictures_of(job, destination, size, left_out) if kind.images is None else read_anew:
        _write_all(destination, kind, kind.files_of(picture, classes))
    data = DataSet(classes, lambda: _pictures_of(job, destination, size, left_out))
    _write_all(destination, kind, kind.shared(data))


def _write_all(destination: Destination, kind: Format, files: Iterable[File]) -> None:
    for name, content in files:
        with destination.open(f"{kind.name}/{name}", "wb") as out:
            for piece in pieces(content):
                out.write(piece)


def _pictures_of(job: BulkJob, destination: Destination, size: Size, left_out: Container[str]) -> Iterator[Labelled]:
    names = Names()
    for chunk in range(size.chunks):  # one file is in memory at a time
        for row in destination.rows(chunk):
            if row["status"] == OK and row["id"] not in left_out:
                yield picture_of(answer_of(row, job.model), names.next_for(row["id"]), row["id"])


def _read_anew(job: BulkJob, destination: Destination, size: Size, left_out: set[str]) -> Iterator[Labelled]:
    """The pictures with their files; adds to `left_out` the ids of pictures that cannot be read again."""
    names = Names()
    for chunk in range(size.chunks):
        unread = {row["id"] for row in destination.rows(chunk) if row["status"] == OK}
        for row, content, suffix in _pictures(job, destination, chunk):
            unread.discard(row["id"])
            fields = {"suffix": suffix_of(row["id"], suffix), "read": partial(bytes, content)}
            yield picture_of(answer_of(row, job.model), names.next_for(row["id"]), row["id"], **fields)
        left_out |= unread


def write_webdataset(job: BulkJob, destination: Destination, size: Size) -> None:
    """Tar shards, one for each file of rows: NAME.jpg and NAME.json."""
    names = Names()
    for chunk in range(size.chunks):
        with (
            destination.open(f"{WEBDATASET}/{chunk:06d}.tar", "wb") as out,
            tarfile.open(fileobj=out, mode="w|") as shard,
        ):
            for row, content, suffix in _pictures(job, destination, chunk):
                name = names.first_free(UNSAFE_IN_KEYS.sub("_", safe_name(row["id"])))
                add_file(shard, f"{name}{suffix}", content)
                add_file(shard, f"{name}.json", json.dumps(row, ensure_ascii=False).encode())


def writer_of(name: str) -> tuple[str, Write]:
    """The folder of a format, and what writes it. Raises ValueError: there is no such format."""
    if name == WEBDATASET:
        return name, write_webdataset
    kind = format_of(name, WEBDATASET)
    return kind.name, partial(write_labels, kind)


def check_room(names: Iterable[str], classes: Sequence[str]) -> None:
    """Check the formats of `writer_of`. Raises ValueError: one has no room for the classes."""
    for name in names:
        if name != WEBDATASET:
            format_of(name).check(classes)


def _pictures(job: BulkJob, destination: Destination, chunk: int) -> Iterator[tuple[Row, bytes, str]]:
    """The rows of one chunk's answers with their pictures and the suffixes of these."""
    rows = {row["id"]: row for row in destination.rows(chunk) if row["status"] == OK}
    pictures = [picture for picture in destination.chunk(chunk) if picture.name in rows]
    limits = job.settings.limits

    def read(picture: Picture) -> tuple[Row, bytes, str] | None:
        try:
            content = files.read(picture)
            return rows[picture.name], content, suffix_of_format(read_header(content, limits).format)
        except (ServiceError, OSError):
            return None

    with closing(FileReader(limits.max_image_bytes, job.source.kind, job.source.image_column)) as files:
        read_again = map_threads(read, pictures, PICTURES_AHEAD)
        yield from (each for each in read_again if each is not None)
