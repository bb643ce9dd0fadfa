"""Results of a job in other formats than JSON lines, each made from the lines and written as they are read."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np

from lexiseg_labels.formats import coco, yolo
from lexiseg_labels.masks import png
from lexiseg_labels.segments import Segment, segment_of
from lexiseg_model.files.names import fitting
from lexiseg_service.batch.ledger.job import Format
from lexiseg_service.errors import InvalidValue

Line = Mapping[str, Any]
Lines = Callable[[], Iterable[Line]]  # from the beginning, each time
CHUNK = 2**18  # bytes
UNSAFE = re.compile(r"[^\w.\-]+")
ROOM = len(".yaml")  # bytes that follow a name
MAX_8_BIT = 255


class FormatKind(NamedTuple):
    """Media type, name of the file that a browser saves, and what writes it: lines and classes to pieces of bytes."""

    media_type: str
    file: str
    write: Callable[[Lines, Sequence[str]], Iterator[bytes]]


def check_fits(to: Format, question: Mapping[str, Any]) -> None:
    """Check that a question gives what a format needs.

    Raises:
        InvalidValue: it does not, or a library is missing.
    """
    if to == "jsonl":
        return
    if (mask := question.get("mask", "rle")) != "rle":
        raise InvalidValue.of("question.mask", mask, f"rle for to={to}")
    for name in ("overlay", "confidence"):
        if question.get(name):
            raise InvalidValue.of(f"question.{name}", "true", f"false for to={to}; only jsonl holds pictures")
    if to == "parquet" and find_spec("pyarrow") is None:  # located, not imported: this runs on the event loop
        raise InvalidValue.of("to", to, "another format; this server lacks pyarrow")


def _segments(line: Line) -> tuple[list[Segment], tuple[int, int]]:
    answer = line["answer"]
    size = (int(answer["size"][0]), int(answer["size"][1]))
    return [segment_of(segment, size, None) for segment in answer["segments"]], size


def _answered(lines: Lines) -> Iterator[Line]:
    return (line for line in lines() if line["answer"] is not None)


def write_coco(lines: Lines, classes: Sequence[str]) -> Iterator[bytes]:
    """COCO's annotations with run lengths; the lines are read twice and never held."""
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    yield json.dumps({"info": {"description": "lexiseg job"}, "categories": categories})[:-1].encode()
    images = (
        {
            "id": line["number"] + 1,
            "file_name": line["image"],
            "height": line["answer"]["size"][0],
            "width": line["answer"]["size"][1],
        }
        for line in _answered(lines)
    )
    yield from _list("images", images)
    yield from _list("annotations", _annotations(lines))
    yield b"\n}\n"


def _list(name: str, entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield f', "{name}": ['.encode()
    for place, entry in enumerate(entries):
        yield ((",\n" if place else "\n") + json.dumps(entry)).encode()
    yield b"]"


def _annotations(lines: Lines) -> Iterator[dict[str, Any]]:
    written = 0
    for line in _answered(lines):
        for annotation in coco.coco_annotations(_segments(line)[0], line["number"] + 1, written + 1):
            written += 1
            yield annotation


class _Sink(io.RawIOBase):
    """What zipfile writes to: keeps the bytes until they are taken."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.pieces.append(bytes(content))
        return len(content)

    def take(self) -> bytes:
        content = b"".join(self.pieces)
        self.pieces.clear()
        return content


def _zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A zip of files, in pieces."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
            if piece := sink.take():
                yield piece
    yield sink.take()


def stems_of(names: Iterable[str]) -> Iterator[str]:
    """File names for pictures, each once: folders stay, an address becomes one name, unsafe characters become _."""
    used: set[str] = set()
    for name in names:
        parts = [name] if "://" in name else name.split("/")
        usable = (UNSAFE.sub("_", part).lstrip(".") for part in parts)
        safe = [fitting(part, ROOM) for part in usable if part]
        folder, slash, last = "/".join(safe or ["_"]).rpartition("/")
        stem = folder + slash + (last.rpartition(".")[0] or last)
        number, candidate = 1, stem
        while candidate in used:
            number += 1
            candidate = f"{stem}-{number}"
        used.add(candidate)
        yield candidate


def write_yolo(lines: Lines, classes: Sequence[str]) -> Iterator[bytes]:
    """A zip of YOLO's labels with data.yaml, train.txt and val.txt; the pictures go beside them, into images/."""

    def files() -> Iterator[tuple[str, bytes]]:
        listed: list[str] = []
        for line, stem in zip(_answered(lines), stems_of(line["image"] for line in _answered(lines)), strict=False):
            segments, size = _segments(line)
            yield f"labels/{stem}.txt", yolo.lines(segments, size).encode()
            suffix = re.search(r"\.\w{1,5}$", line["image"])
            listed.append(stem + (suffix[0].lower() if suffix else ".jpg"))
        texts = {"train.txt": "", "val.txt": ""}
        for name, text in yolo.splits(listed):
            texts[name] += text
        for name, text in texts.items():
            yield name, text.encode()
        yield "data.yaml", yolo.data_yaml(classes).encode()

    return _zipped(files())


def write_label_maps(lines: Lines, classes: Sequence[str]) -> Iterator[bytes]:
    """A zip of PNGs, value = class_index + 1, 0 = background, later segments over earlier ones, and classes.json."""

    def files() -> Iterator[tuple[str, bytes]]:
        yield "classes.json", json.dumps(dict(enumerate(classes, 1)), ensure_ascii=False, indent=1).encode()
        kind: Any = np.uint8 if len(classes) <= MAX_8_BIT else np.uint16
        for line, stem in zip(_answered(lines), stems_of(line["image"] for line in _answered(lines)), strict=False):
            segments, size = _segments(line)
            labels = np.zeros(size, kind)
            for segment in segments:
                labels[segment.mask] = 1 if segment.class_index is None else segment.class_index + 1
            yield f"{stem}.png", png.encode(labels)

    return _zipped(files())


def write_parquet(lines: Lines, classes: Sequence[str]) -> Iterator[bytes]:
    """One parquet file with a row for each picture, in the columns of `lexiseg bulk`."""
    import pyarrow.parquet

    from lexiseg_service.batch.rows import ROWS, row_of_line

    with TemporaryFile() as file:
        with pyarrow.parquet.ParquetWriter(file, ROWS, compression="zstd") as writer:
            batch: list[dict[str, Any]] = []
            for line in lines():
                batch.append(row_of_line(line))
                if len(batch) == ROWS_PER_GROUP:
                    writer.write_table(pyarrow.Table.from_pylist(batch, ROWS))
                    batch.clear()
            if batch:
                writer.write_table(pyarrow.Table.from_pylist(batch, ROWS))
        file.seek(0)
        while piece := file.read(CHUNK):
            yield piece


ROWS_PER_GROUP = 500
FORMATS: Mapping[Format, FormatKind] = {
    "coco": FormatKind("application/json", "annotations.json", write_coco),
    "yolo": FormatKind("application/zip", "yolo.zip", write_yolo),
    "label-maps": FormatKind("application/zip", "label-maps.zip", write_label_maps),
    "parquet": FormatKind("application/vnd.apache.parquet", "results.parquet", write_parquet),
}
