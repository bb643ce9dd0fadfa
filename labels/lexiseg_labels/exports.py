"""The formats of labels, for every door: the command line, jobs, `lexiseg bulk`, the client.

A new format is a module of `formats/` and a line here, or an entry point of the group `lexiseg.exports`
in any installed package with a `Format` as value. Rows (JSON lines, parquet), shards and banks are no labels: the
service's batch work writes them.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_labels.data_set import DataSet, File, Format
from lexiseg_labels.formats import (
    coco,
    coco_panoptic,
    cvat,
    datumaro,
    geojson,
    label_maps,
    label_studio,
    labelme,
    voc,
    yolo,
)
from lexiseg_labels.names import fitting

MODULES = (coco, coco_panoptic, yolo, voc, cvat, labelme, label_studio, label_maps, geojson, datumaro)
OURS = tuple(module.FORMAT for module in MODULES)
GROUP = "lexiseg.exports"
MEDIA_TYPES = {"json": "application/json", "xml": "application/xml", "zip": "application/zip"}  # by suffix


@cache
def formats() -> dict[str, Format]:
    """Every format by its name, ours first; one from outside replaces none of ours, and is left out if it is broken."""
    by_name: dict[str, Format] = {}
    for each in (*OURS, *_from_outside().values()):
        if isinstance(each, Format):
            by_name.setdefault(each.name, each)
    return by_name


@cache
def _from_outside() -> dict[str, Format | str]:
    """What each entry point gives, by its name: a format, or what is wrong with it."""
    formats: dict[str, Format | str] = {}
    for entry in entry_points(group=GROUP):
        try:
            value = entry.load()
            formats[entry.name] = (
                value if isinstance(value, Format) else f"expected a Format, got {type(value).__name__}"
            )
        except Exception as error:  # the code of others raises anything
            formats[entry.name] = f"does not load: {type(error).__name__}: {error}"
    return formats


def format_of(name: str, *others: str) -> Format:
    """The format with a name or an alias."""
    if isinstance(broken := _from_outside().get(name), str):
        raise ValueError(f"format {name}: its entry point in {GROUP} {broken}")
    for each in formats().values():
        if name == each.name or name in each.aliases:
            return each
    raise ValueError(f"expected one of {', '.join([*formats(), *others])}, got {name!r}")


def pieces(content: bytes | Iterator[bytes]) -> Iterator[bytes]:
    return iter((content,)) if isinstance(content, bytes) else content


class Packed(NamedTuple):
    """Media type, name of the file that a browser saves, and the content in pieces."""

    media_type: str
    file: str
    content: Iterator[bytes]


def packed(kind: Format, data: DataSet, *, for_pictures: bool = False) -> Packed:
    """A data set as one file: the format's only one, or a zip where there are more.

    With `for_pictures` also a zip where the format has pictures, or the list of reviewed ones, with its labels.
    """
    kind.check(data.classes)
    files = kind.write(data)
    if kind.listing is None or (for_pictures and (kind.beside is not None or not kind.marks_reviewed)):
        return Packed(MEDIA_TYPES["zip"], f"{kind.name}.zip", zipped(files))
    _, _, suffix = kind.listing.rpartition(".")
    content = (piece for _, content in files for piece in pieces(content))
    return Packed(MEDIA_TYPES.get(suffix, "application/octet-stream"), f"{kind.name}.{suffix}", content)


def write_folder(files: Iterable[File], folder: Path) -> None:
    """Write files into a folder, each whole or not at all; folders are created."""
    for name, content in files:
        write_whole(folder / name, content)


def write_whole(path: Path, content: bytes | Iterator[bytes]) -> None:
    """Write a file whole or not at all; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{fitting(path.name, len('..unfinished'))}.unfinished")
    with unfinished.open("wb") as out:
        out.writelines(pieces(content))
    os.replace(unfinished, path)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file in the place of another, which is replaced; its folder is created."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


class ZipSink(io.RawIOBase):
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


def zipped(files: Iterable[File]) -> Iterator[bytes]:
    """A zip of files, in pieces as they are made."""
    sink = ZipSink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as out:
                for piece in pieces(content):
                    out.write(piece)
                    if chunk := sink.take():
                        yield chunk
            if chunk := sink.take():
                yield chunk
    yield sink.take()
