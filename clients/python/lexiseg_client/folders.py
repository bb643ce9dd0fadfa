"""`Client.label_folder`: label the pictures of a folder and write the data set of an annotation tool or a trainer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.errors import Forbidden, NotFound, Unauthorized, Unreachable
from lexiseg_labels.data_set import DataSet, Picture
from lexiseg_labels.exports import format_of, write_folder
from lexiseg_labels.kept import line_of, picture_of_line
from lexiseg_labels.names import Names, suffix_of
from lexiseg_labels.segmentation import Segmentation

FATAL = (Forbidden, NotFound, Unauthorized, Unreachable)  # the next image would fail, too


@dataclass(frozen=True)
class LabelledFolder:
    """What `label_folder` wrote: the folder of the data set, how many pictures are in it, and those that are not."""

    out: Path
    labelled: int
    failed: dict[Path, Exception]


class Writer:
    """Writes the labels of each picture into a folder, then what all pictures share.

    Args:
        to: the data set's format.
        folder: the pictures'; names in the data set are relative to it.
        out: the data set's; None: beside the folder, as FOLDER-coco.
        classes: names, in order.

    Raises:
        ValueError: there is no such format, or it has no room for the classes.
    """

    def __init__(self, to: str, folder: Path, out: Path | None, classes: list[str]) -> None:
        try:
            self._format = format_of(to)
            self._format.check(classes)
        except ValueError as error:
            raise ValueError(f"to: {error}") from None
        self._classes = classes
        self.folder = Path(os.path.abspath(folder))
        self.out = out or self.folder.with_name(f"{self.folder.name}-{to}")
        self._names = Names()
        self._kept = TemporaryFile()  # noqa: SIM115  # closed with the writer

    def add(self, path: Path, answer: Segmentation) -> None:
        """Write the labels of one picture.

        Raises:
            LexisegError, OSError: its labels cannot be written.
        """
        source = path.relative_to(self.folder).as_posix()
        picture = Picture(
            name=self._names.of(source),
            size=answer.size,
            segments=answer.segments,
            source=source,
            suffix=suffix_of(source),
            link=Path(os.path.relpath(path, self.out)).as_posix(),
            model=f"{answer.model} {answer.model_digest}",
        )
        line = line_of(picture)
        write_folder(list(self._format.files_of(picture, self._classes)), self.out)
        if self._format.images:
            self._place(path, self.out / self._format.images / picture.file_name)
        self._kept.write(line)

    def close(self) -> None:
        """Write what the pictures share, if there are any."""
        with self._kept:
            if self._kept.tell():
                write_folder(self._format.shared(DataSet(self._classes, self._pictures)), self.out)

    def _pictures(self) -> Iterator[Picture]:
        self._kept.seek(0)
        yield from map(picture_of_line, self._kept)

    def _place(self, path: Path, image: Path) -> None:
        """Link or copy a picture into the data set."""
        image.parent.mkdir(parents=True, exist_ok=True)
        image.unlink(missing_ok=True)
        try:
            os.link(path, image)
        except OSError:  # another file system
            shutil.copyfile(path, image)


def write_all(writer: Writer, answers: Iterable[tuple[Path, Segmentation | Exception]]) -> LabelledFolder:
    """Write the answers about pictures; one that fails costs itself alone.

    An interrupted run leaves a data set of the pictures until then.

    Raises:
        LexisegError, OSError: every picture failed, or the next ones would, too.
    """
    labelled, failed = 0, dict[Path, Exception]()
    try:
        for picture, answer in answers:
            try:
                if isinstance(answer, Exception):
                    raise answer
                writer.add(Path(os.path.abspath(picture)), answer)
                labelled += 1
            except FATAL:
                raise
            except IMAGE_ERRORS as error:
                failed[picture] = error
    finally:
        writer.close()
    if not labelled and failed:
        raise next(iter(failed.values()))
    return LabelledFolder(writer.out, labelled, failed)
