"""`Client.label_folder`: label the pictures of a folder and write the data set of an annotation tool or a trainer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.errors import (
    Busy,
    DeadlineExceeded,
    Forbidden,
    LexisegError,
    NotFound,
    NotReady,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from lexiseg_client.heads import Heads
from lexiseg_client.question.options import background_json, classes_json
from lexiseg_client.vocabularies import Vocabularies
from lexiseg_labels.data_set import DataSet, Picture, model_version
from lexiseg_labels.exports import format_of, write_folder
from lexiseg_labels.json_text import json_text
from lexiseg_labels.kept import Ledger, picture_of, row_of
from lexiseg_labels.names import Names
from lexiseg_labels.picture_names import suffix_of
from lexiseg_labels.segmentation import Segmentation

FATAL = (Forbidden, NotFound, Unauthorized, Unreachable)  # the next image would fail, too
NOT_NOW = (Busy, DeadlineExceeded, NotReady, TimedOut)  # says nothing about the picture


@dataclass(frozen=True)
class LabelledFolder:
    """What `label_folder` wrote: the folder of the data set, how many pictures are in it, and the ones that are not.

    `failed` have a problem; `not_yet` could not be asked, each with the error of the last attempt.
    """

    out: Path
    labelled: int
    failed: dict[Path, Exception]
    not_yet: dict[Path, Exception] = field(default_factory=dict)


RESOLVED = ("vocabulary", "head", "background")  # options that `resolve_names` changes


class Lookup(Protocol):
    """A client, as far as names are looked up."""

    @property
    def vocabularies(self) -> Vocabularies: ...

    @property
    def heads(self) -> Heads: ...


def resolve_names(client: Lookup, labels: Sequence[str], fields: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """A question about many pictures with what it names as it is now, so that changes on the server do not touch it.

    Args:
        client: of the server.
        labels: of its own classes.
        fields: of the question; a vocabulary of users becomes `classes`, a head NAME@VERSION.

    Returns:
        The labels of its answers by `class_index`, and the fields.

    Raises:
        UnknownVocabulary, UnknownHead: there is none of that name.
        LexisegError: of other kinds.
    """
    now = {name: value for name, value in fields.items() if value is not None}
    if (vocabulary := now.get("vocabulary")) is not None and "classes" not in now:  # the server refuses both
        listed = client.vocabularies.get(vocabulary)
        labels = [entry.name for entry in listed.classes]
        if not listed.built_in:
            del now["vocabulary"]
            now = {"background": background_json(listed.background), **now, "classes": classes_json(listed.classes)}
    if (head := now.get("head")) is not None:
        name, at, _ = head.partition("@")
        taught = client.heads.get(name)
        now["head"] = head if at else f"{name}@{taught.version}"
        first = {entry.name.casefold() for entry in taught.classes}
        labels = [*(entry.name for entry in taught.classes), *(each for each in labels if each.casefold() not in first)]
    return [*labels], now


class Writer:
    """Writes the labels of each picture into a folder, then what all pictures share.

    Args:
        to: the data set's format.
        folder: the pictures'; names in the data set are relative to it.
        out: the data set's; None: next to the folder, as FOLDER-coco.
        labels: of the answers by `class_index`.
        question: about each picture, as JSON.

    Raises:
        ValueError: there is no such format, or it has no room for the classes.
        OSError: the ledger of an earlier call cannot be read.
    """

    def __init__(
        self, to: str, folder: Path, out: Path | None, labels: Sequence[str], question: Mapping[str, Any]
    ) -> None:
        self._classes = labels
        self._weights: str | None = None  # of the first answer
        try:
            self._format = format_of(to)
            self._format.check(self._classes)
        except ValueError as error:
            raise ValueError(f"to: {error}") from None
        self.folder: Path = Path(os.path.abspath(folder))
        self.out: Path = out or self.folder.with_name(f"{self.folder.name}-{to}")
        self._names = Names()
        digest = sha256(json_text(question).encode()).hexdigest()  # examples are as large as their pictures
        self._ledger = Ledger(self.out, {"format": to, "classes": list(labels), "digest": digest})
        self._stamps: dict[str, int] = {}  # of the pictures in the set, by source
        self.labelled: int = 0

    def not_done(self, pictures: Sequence[Path]) -> list[Path]:
        """The pictures that an earlier call has not labelled, or that have changed since; the others stay in the set.

        Raises:
            OSError: the ledger cannot be read.
        """
        by_source = {self._source(path): path for path in pictures}
        for row in self._ledger.rows():
            source = row["source"]
            if source in by_source and row["modified"] == _stamp(by_source[source]):
                self._stamps[source] = row["modified"]
                self._names.first_free(row["name"])
        self.labelled = len(self._stamps)
        return [path for source, path in by_source.items() if source not in self._stamps]

    def _source(self, path: Path) -> str:
        return Path(os.path.abspath(path)).relative_to(self.folder).as_posix()

    def add(self, path: Path, answer: Segmentation) -> None:
        """Write the labels of one picture.

        Raises:
            LexisegError, OSError: its labels cannot be written.
        """
        self._check(answer)
        path, source = Path(os.path.abspath(path)), self._source(path)
        stamp = _stamp(path)
        picture = Picture(
            name=self._names.next_for(source),
            size=answer.size,
            segments=answer.segments,
            source=source,
            suffix=suffix_of(source),
            link=Path(os.path.relpath(path, self.out)).as_posix(),
            model=model_version(answer.model, answer.model_digest),
        )
        row = row_of(picture)
        write_folder(list(self._format.files_of(picture, self._classes)), self.out)
        if self._format.images:
            self._place(path, self.out / self._format.images / picture.file_name)
        self._ledger.add({"modified": stamp, **row})
        self._stamps[source] = stamp
        self.labelled += 1

    def _check(self, answer: Segmentation) -> None:
        """Refuse an answer of other weights than the first one, or with other labels than the data set."""
        self._weights = self._weights or answer.model_digest
        if answer.model_digest != self._weights:
            raise LexisegError(f"{answer.model} has other weights than when the folder was begun; label it again")
        places = {label: place for place, label in enumerate(self._classes)}
        for segment in answer.segments:
            if (place := places.get(segment.label or "", segment.class_index)) != segment.class_index:
                came = f"{segment.label!r} is class {segment.class_index} of the answer"
                raise LexisegError(f"{came}, and {place} of the data set")

    def close(self) -> None:
        """Write what the pictures share, if there are any."""
        if self.labelled:
            write_folder(self._format.shared(DataSet(self._classes, self._pictures)), self.out)

    def _pictures(self) -> Iterator[Picture]:
        for row in self._ledger.rows():
            if row["modified"] == self._stamps.get(row["source"]):
                yield picture_of(row)

    def _place(self, path: Path, image: Path) -> None:
        """Link or copy a picture into the data set."""
        image.parent.mkdir(parents=True, exist_ok=True)
        image.unlink(missing_ok=True)
        try:
            os.link(path, image)
        except OSError:  # another file system
            shutil.copyfile(path, image)


def _stamp(path: Path) -> int:
    """The time of a file's last change, in nanoseconds."""
    return path.stat().st_mtime_ns


def write_all(writer: Writer, answers: Iterable[tuple[Path, Segmentation | Exception]]) -> LabelledFolder:
    """Write the answers about pictures; one that fails costs only itself.

    An interrupted run leaves a data set of the pictures until then.

    Raises:
        LexisegError, OSError: every picture failed, or the next ones would, too.
    """
    failed, not_yet = dict[Path, Exception](), dict[Path, Exception]()
    try:
        for picture, answer in answers:
            try:
                if isinstance(answer, Exception):
                    raise answer
                writer.add(picture, answer)
            except FATAL:
                raise
            except NOT_NOW as error:
                not_yet[picture] = error
            except IMAGE_ERRORS as error:
                failed[picture] = error
    finally:
        writer.close()
    if not writer.labelled and (errors := [*failed.values(), *not_yet.values()]):
        raise errors[0]
    return LabelledFolder(writer.out, writer.labelled, failed, not_yet)
