"""Export the answers of a finished job to other formats: DST/coco, DST/yolo, DST/webdataset, DST/bank.

Files of an earlier export are replaced. Pictures are read from the source again; unreadable ones are left out.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np

from lexiseg_client.calling.mapping import map_threads
from lexiseg_labels.formats import coco, yolo
from lexiseg_model.command_line.outputs import numbered
from lexiseg_model.errors import OptionError
from lexiseg_model.files.archives import add_file
from lexiseg_model.files.names import fitting
from lexiseg_model.pictures.formats import suffix_of
from lexiseg_model.pictures.reader import read as read_picture
from lexiseg_service.batch.executors.chunks import BulkJob
from lexiseg_service.batch.ledger.folder import Destination, Size
from lexiseg_service.batch.rows import OK, Row, segments_of
from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.errors import ServiceError
from lexiseg_service.image.reader import read_header
from lexiseg_service.in_process import load

if TYPE_CHECKING:  # imports torch
    from lexiseg_model.internal import Banking

Format = Literal["coco", "webdataset", "yolo", "bank"]
UNSAFE = re.compile(r"[^\w.\-]+")
UNSAFE_IN_KEYS = re.compile(r"[^\w\-]+")  # a dot would end a key of webdataset
ROOM = len(".webp")  # bytes that follow the name of an input in the longest name of its files
PICTURES_AHEAD = 32  # pictures that are read ahead


def write_coco(job: BulkJob, destination: Destination, size: Size) -> None:
    """COCO's data set: images/, and annotations with run lengths, streamed. `source` is an input's id."""
    categories = [{"id": n, "name": entry.name} for n, entry in enumerate(job.vocabulary.classes, 1)]
    head = {"info": {"description": "lexiseg bulk", "asked": job.identity}, "categories": categories}
    left_out: set[str] = set()
    with destination.open(f"coco/{coco.ANNOTATIONS}", "wb") as raw, io.TextIOWrapper(raw, "utf-8") as out:
        # Images first, then annotations: the rows are read twice and never held.
        out.write(json.dumps(head)[:-1])
        _write_list(out, "images", _coco_images(job, destination, size, left_out))
        answers = (row for row in _answers(destination, size) if row["id"] not in left_out)
        _write_list(out, "annotations", _coco_annotations(answers))
        out.write("\n}\n")


def _coco_images(job: BulkJob, destination: Destination, size: Size, left_out: set[str]) -> Iterator[dict[str, Any]]:
    """Write the pictures; yields their entries, and adds to `left_out` the ids of those that cannot be read again."""
    names, number = Names(UNSAFE), 0
    for chunk in range(size.chunks):
        unwritten = {row["id"] for row in destination.rows(chunk) if row["status"] == OK}
        for row, content, suffix in _pictures(job, destination, chunk):
            name, number = f"{names.of(row['id'])}{suffix}", number + 1
            destination.write(f"coco/{coco.IMAGES}/{name}", content)
            unwritten.discard(row["id"])
            height, width = row["size"]
            entry = {"id": number, "file_name": name, "height": height, "width": width}
            yield {**entry, "source": row["id"]}
        left_out |= unwritten


def _write_list(out: TextIO, name: str, entries: Iterable[dict[str, Any]]) -> None:
    out.write(f', "{name}": [')
    for place, entry in enumerate(entries):
        out.write((",\n" if place else "\n") + json.dumps(entry))
    out.write("]")


def _coco_annotations(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    written = 0
    for number, row in enumerate(rows, 1):
        for annotation in coco.coco_annotations(segments_of(row), number, written + 1):
            written += 1
            yield annotation | {"score": round(annotation["score"], 4)}


def write_yolo(job: BulkJob, destination: Destination, size: Size) -> None:
    """Ultralytics' data set: images/, labels/, train.txt, val.txt and data.yaml."""
    names = Names(UNSAFE)

    def written() -> Iterator[str]:
        for chunk in range(size.chunks):
            for row, content, suffix in _pictures(job, destination, chunk):
                name = names.of(row["id"])
                destination.write(f"yolo/images/{name}{suffix}", content)
                labels = yolo.lines(segments_of(row), tuple(row["size"]))
                destination.write(f"yolo/labels/{name}.txt", labels.encode())
                yield f"{name}{suffix}"

    with destination.open("yolo/train.txt", "w") as train, destination.open("yolo/val.txt", "w") as val:
        for list_name, line in yolo.splits(written()):
            (train if list_name == "train.txt" else val).write(line)
    destination.write("yolo/data.yaml", yolo.data_yaml([entry.name for entry in job.vocabulary.classes]).encode())


def write_webdataset(job: BulkJob, destination: Destination, size: Size) -> None:
    """Tar shards, one for each file of rows: NAME.jpg and NAME.json."""
    names = Names(UNSAFE_IN_KEYS)
    for chunk in range(size.chunks):
        with (
            destination.open(f"webdataset/{chunk:06d}.tar", "wb") as out,
            tarfile.open(fileobj=out, mode="w|") as shard,
        ):
            for row, content, suffix in _pictures(job, destination, chunk):
                name = names.of(row["id"])
                add_file(shard, f"{name}{suffix}", content)
                add_file(shard, f"{name}.json", json.dumps(row, ensure_ascii=False).encode())


def bank_maker(job: BulkJob) -> Banking:
    """Load the model of a job. Raises OptionError: it makes no banks."""
    from lexiseg_model.internal import banking  # imports torch

    return banking(load(job.settings, job.question.task))


def write_bank(job: BulkJob, destination: Destination, size: Size) -> None:
    """`bank.safetensors`: `keys` [N, C] and `values` [N, D], float16, of every region of every picture.

    All are held in memory. A picture without an answer gives none.

    Raises:
        OptionError: no picture has a region.
    """
    import safetensors.numpy  # beside the imports of a model

    model = bank_maker(job)
    of_pictures = (
        model.bank_rows(read_picture(content).rgb)
        for chunk in range(size.chunks)
        for _, content, _ in _pictures(job, destination, chunk)
    )
    rows = [each for each in of_pictures if len(each.keys)]
    if not rows:
        raise OptionError(f"--to bank: no region in any picture of {job.destination}; expected one at least")
    keys, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    destination.write("bank/bank.safetensors", safetensors.numpy.save({"keys": keys, "values": values}))


WRITERS: Mapping[Format, Callable[[BulkJob, Destination, Size], None]] = {
    "coco": write_coco,
    "webdataset": write_webdataset,
    "yolo": write_yolo,
    "bank": write_bank,
}


class Names:
    """File names for ids, each once: folders stay, an address becomes one name, unsafe characters become _."""

    def __init__(self, unsafe: re.Pattern[str]) -> None:
        self._unsafe = unsafe
        self._used: set[int] = set()  # hashes

    def of(self, id_: str) -> str:
        """A name without a suffix, with a number if the name is taken."""
        folder, slash, last = self._stem(id_).rpartition("/")
        names = (folder + slash + fitting(name, ROOM) for name in numbered(last))
        name = next(name for name in names if hash(name) not in self._used)
        self._used.add(hash(name))
        return name

    def _stem(self, id_: str) -> str:
        parts = [id_] if "://" in id_ else id_.split("/")
        usable = [part for part in parts if part not in ("", ".", "..")] or ["_"]
        head, dot, _ = usable[-1].rpartition(".")
        if dot and head.strip("."):
            usable[-1] = head
        return "/".join(fitting(self._unsafe.sub("_", part).lstrip(".") or "_") for part in usable)


def _answers(destination: Destination, size: Size) -> Iterator[Row]:
    """The rows with an answer, in the order of the plan; one file is in memory at a time."""
    for chunk in range(size.chunks):
        yield from (row for row in destination.rows(chunk) if row["status"] == OK)


def _pictures(job: BulkJob, destination: Destination, chunk: int) -> Iterator[tuple[Row, bytes, str]]:
    """The rows of one chunk's answers with their pictures and the suffixes of these."""
    rows = {row["id"]: row for row in destination.rows(chunk) if row["status"] == OK}
    pictures = [picture for picture in destination.chunk(chunk) if picture.name in rows]
    limits = job.settings.limits

    def read(picture: Picture) -> tuple[Row, bytes, str] | None:
        try:
            content = files.read(picture)
            return rows[picture.name], content, suffix_of(read_header(content, limits).format)
        except (ServiceError, OSError):
            return None

    with closing(FileReader(limits.max_image_bytes, job.source.kind, job.source.image_column)) as files:
        read_again = map_threads(read, pictures, PICTURES_AHEAD)
        yield from (each for each in read_again if each is not None)
