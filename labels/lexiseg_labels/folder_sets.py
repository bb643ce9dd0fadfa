"""A data set that grows in a folder, picture by picture, and the ledger that lets a later run go on with it.

The ledger is a file with the question, then a line for each picture that is done: a run that ends early, however it
ends, leaves what it has done. The pictures can be iterated again without being held.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lexiseg_labels.data_set import DataSet, File, Format, Picture
from lexiseg_labels.errors import LexisegError
from lexiseg_labels.exports import link_or_copy, write_folder
from lexiseg_labels.formats import coco
from lexiseg_labels.json_text import json_text
from lexiseg_labels.names import numbered
from lexiseg_labels.segments import read_size, run_lengths, segment_json, segment_of

LEDGER = ".lexiseg.jsonl"
QUESTION = "asked"  # in the first line
TEXTS = ("name", "source", "suffix", "link", "model")
Row: TypeAlias = "dict[str, Any]"


def _row_of(picture: Picture) -> Row:
    """A picture without its file, every mask as run lengths. Raises NoMasks: requested with mask="none"."""
    segments = [
        segment_json(segment) | {"mask": {"format": "coco_rle", **run_lengths(segment)}} for segment in picture.segments
    ]
    return {name: getattr(picture, name) for name in TEXTS} | {"size": list(picture.size), "segments": segments}


def _picture_of(row: Mapping[str, Any]) -> Picture:
    size = read_size(row["size"])
    texts = {name: row[name] for name in TEXTS}
    return Picture(size=size, segments=[segment_of(entry, size, None) for entry in row["segments"]], **texts)


def has_results(folder: Path) -> bool:
    """Whether it has a ledger or COCO's annotations, or those of earlier releases, which are not gone on with."""
    return any((folder / name).exists() for name in (LEDGER, coco.ANNOTATIONS, ".lexiseg.json", "annotations.json"))


def _folder_for(out: Path, question: Mapping[str, Any]) -> Path:
    """The folder to write into: `out`, or `out-2` and so on if it holds answers to another question.

    Concurrent processes need a folder each: they would write into each other's ledger.
    """
    out = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    for folder in map(out.with_name, numbered(out.name)):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        if question_in(folder) == question or not has_results(folder):
            return folder
    raise AssertionError("unreachable")


def without_results(files: list[Path], root: Path, out: Path | None) -> list[Path]:
    """The files that are not in `out` or its numbered siblings; `root` is the folder that was searched."""
    if out is None or root.resolve() not in (out := out.resolve()).parents or not out.parent.is_dir():
        return files
    others = re.compile(rf"{re.escape(out.name)}-[0-9]+")
    results = {out, *(each for each in out.parent.iterdir() if others.fullmatch(each.name) and has_results(each))}
    return [file for file in files if results.isdisjoint(file.resolve().parents)]


def question_in(folder: Path) -> Any:
    """The question of the ledger in a folder; None: there is none."""
    try:
        with (folder / LEDGER).open("rb") as lines:
            first = json.loads(lines.readline())
    except (OSError, ValueError):
        return None
    return first.get(QUESTION) if isinstance(first, dict) else None


class FolderSet:
    """The data set in a folder, or in FOLDER-2 and so on where another question has one.

    `classes` and `things` are of `DataSet`, `question` is JSON; `stamps` is when each picture changed last, by source.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[Format],
        classes: Sequence[str],
        question: Mapping[str, Any],
        things: Sequence[bool] | None = None,
    ) -> None:
        self.folder = _folder_for(folder, question)
        self.stamps: dict[str, int] = {}
        self.count = 0
        self._formats = formats
        self._classes, self._things = classes, things
        self._places = {label: place for place, label in enumerate(classes)}
        self._model: str | None = None  # of the first picture
        self._ledger = self.folder / LEDGER
        self._question = question
        self._current: set[tuple[str, int]] = set()  # sources and stamps of the rows that count
        self._is_begun = question_in(self.folder) == question
        if self._is_begun:
            with self._ledger.open("r+b") as file:  # a kill may have cut the last line short
                file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))

    def resume(self, counts: Callable[[Row], bool] = lambda _: True) -> list[str]:
        """Take up the pictures of earlier runs that count; returns their names."""
        names = []
        for row in filter(counts, self._rows()):
            self._enter(row)
            names.append(row["name"])
        return names

    def _rows(self) -> Iterator[Row]:
        """One in memory at a time: masks of thousands of pictures are large."""
        if self._is_begun:
            with self._ledger.open("rb") as lines:
                next(lines, None)
                yield from map(json.loads, lines)

    def _enter(self, row: Row) -> None:
        self._model = self._model or row["model"]
        self.stamps[row["source"]] = row["modified"]
        self._current.add((row["source"], row["modified"]))
        self.count += 1

    def files_of(self, picture: Picture) -> Iterator[File]:
        """The files of one picture, whole. Raises NoMasks: requested with mask="none"."""
        for kind in self._formats:
            for name, content in kind.files_of(picture, self._classes):
                yield name, content if isinstance(content, bytes) else b"".join(content)

    def add(self, picture: Picture, stamp: int, files: Iterable[File], photograph: Path | None = None) -> None:
        """Write the files of a picture, then its row; its `photograph` where a format holds pictures.

        `stamp`: when it changed, in nanoseconds. Raises LexisegError: of other weights than the first, or other labels.
        """
        self._check(picture)
        row = {"modified": stamp, **_row_of(picture)}
        write_folder(files, self.folder)
        for kind in self._formats:
            if photograph is not None and kind.images:
                link_or_copy(photograph, self.folder / kind.images / picture.file_name)
        lines = [row] if self._is_begun else [{QUESTION: self._question}, row]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("ab" if self._is_begun else "wb") as file:
            file.write("".join(f"{json_text(line)}\n" for line in lines).encode())
        self._is_begun = True  # from the first one on, the folder belongs to this question
        self._enter(row)

    def _check(self, picture: Picture) -> None:
        if picture.model != (self._model or picture.model):
            began = f"{self._model}, with which the folder was begun"
            raise LexisegError(f"{picture.model} has other weights than {began}; label it again")
        for segment in picture.segments:
            if (place := self._places.get(segment.label or "", segment.class_index)) != segment.class_index:
                came = f"{segment.label!r} is class {segment.class_index} of the answer"
                raise LexisegError(f"{came}, and {place} of the data set")

    def write_shared(self) -> None:
        """Write what the pictures share, if there are any."""
        if self.count:
            data = DataSet(self._classes, self._pictures, self._things)
            for kind in self._formats:
                write_folder(kind.shared(data), self.folder)

    def _pictures(self) -> Iterator[Picture]:
        for row in self._rows():
            if (row["source"], row["modified"]) in self._current:
                yield _picture_of(row)
