"""`Client.label_folder`: label the pictures of a folder and write the data set of an annotation tool or a trainer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.errors import (
    Busy,
    DeadlineExceeded,
    Forbidden,
    InvalidValue,
    NoMasks,
    NotFound,
    NotReady,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from lexiseg_client.question import background_json, classes_json
from lexiseg_labels.data_set import picture_of
from lexiseg_labels.exports import format_of
from lexiseg_labels.folder_sets import FolderSet, Row
from lexiseg_labels.json_text import json_text
from lexiseg_labels.names import Names
from lexiseg_labels.segmentation import Segmentation

if TYPE_CHECKING:
    from lexiseg_client.client import Client

FATAL = (Forbidden, NoMasks, NotFound, Unauthorized, Unreachable)  # the next image would fail, too
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


def resolve_names(client: Client, labels: Sequence[str], fields: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """A question about many pictures, where what it names is as now: later changes on the server do not touch it.

    A vocabulary of users becomes `classes`, a head NAME@VERSION. Returns the labels of the answers by `class_index`
    (`labels` are of the question's own classes), and the fields.
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
    """Writes the labels of each picture into a data set, then what all pictures share.

    Names in it are relative to `folder`; `labels` are of the answers by `class_index`, `question` is JSON.
    """

    def __init__(
        self, to: str, folder: Path, out: Path | None, labels: Sequence[str], question: Mapping[str, Any]
    ) -> None:
        try:
            kind = format_of(to)
            kind.check(labels)
        except ValueError as error:
            raise ValueError(f"to: {error}") from None
        self.folder: Path = Path(os.path.abspath(folder))
        self._names = Names()
        digest = sha256(json_text(question).encode()).hexdigest()  # examples are as large as their pictures
        about = {"format": to, "classes": list(labels), "digest": digest}
        self._set = FolderSet(out or self.folder.with_name(f"{self.folder.name}-{to}"), [kind], labels, about)
        self.out: Path = self._set.folder

    @property
    def labelled(self) -> int:
        """Number of pictures in the set."""
        return self._set.count

    def not_done(self, pictures: Sequence[Path]) -> list[Path]:
        """The pictures that no earlier call has labelled, or that have changed since; the others stay in the set."""
        paths = {self._source(path): path for path in pictures}

        def is_unchanged(row: Row) -> bool:
            return row["source"] in paths and row["modified"] == paths[row["source"]].stat().st_mtime_ns

        for name in self._set.resume(is_unchanged):
            self._names.first_free(name)
        return [path for source, path in paths.items() if source not in self._set.stamps]

    def _source(self, path: Path) -> str:
        return Path(os.path.abspath(path)).relative_to(self.folder).as_posix()

    def add(self, path: Path, answer: Segmentation) -> None:
        """Write the labels of one picture. Raises LexisegError, OSError: its labels cannot be written."""
        path, source = Path(os.path.abspath(path)), self._source(path)
        stamp = path.stat().st_mtime_ns
        link = Path(os.path.relpath(path, self.out)).as_posix()
        picture = picture_of(answer, self._names.next_for(source), source, link=link)
        self._set.add(picture, stamp, list(self._set.files_of(picture)), path)

    def close(self) -> None:
        """Write what the pictures share, if there are any."""
        self._set.write_shared()


def write_all(writer: Writer, answers: Iterable[tuple[Path, Segmentation | Exception]]) -> LabelledFolder:
    """Write the answers about pictures; one that fails costs itself, an interruption the pictures after it."""
    failed, not_yet = dict[Path, Exception](), dict[Path, Exception]()
    try:
        for picture, answer in answers:
            try:
                if isinstance(answer, Exception):
                    raise answer
                writer.add(picture, answer)
            except NOT_NOW as error:
                not_yet[picture] = error
            except IMAGE_ERRORS as error:
                fields = [each.field for each in error.errors] if isinstance(error, InvalidValue) else []
                if isinstance(error, FATAL) or not all(field.startswith(("image", "prompts")) for field in fields):
                    raise
                failed[picture] = error
    finally:
        writer.close()
    if not writer.labelled and (errors := [*failed.values(), *not_yet.values()]):
        raise errors[0]
    return LabelledFolder(writer.out, writer.labelled, failed, not_yet)
