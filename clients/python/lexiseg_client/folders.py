"""`Client.label_folder`: label the pictures of a folder and write the data set of an annotation tool or a trainer."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias
from urllib.parse import quote

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.errors import Forbidden, NotFound, Unauthorized, Unreachable, UnusableImage
from lexiseg_labels.files import write_whole
from lexiseg_labels.formats import coco, yolo
from lexiseg_labels.segmentation import Segmentation

DataSet: TypeAlias = Literal["coco", "yolo", "labelme", "label-studio"]
FATAL = (Forbidden, NotFound, Unauthorized, Unreachable)  # the next image would fail, too


@dataclass(frozen=True)
class LabelledFolder:
    """What `label_folder` wrote: the folder of the data set, how many pictures are in it, and those that are not."""

    out: Path
    labelled: int
    failed: dict[Path, Exception]


class Writer(ABC):
    """Base of the data sets: writes the labels of each picture into a folder, then what all pictures share.

    Args:
        folder: the pictures'; names in the data set are relative to it.
        out: the data set's.
        classes: names, in order.
    """

    suffix: ClassVar[str | None] = None  # of a file of its own for each picture

    def __init__(self, folder: Path, out: Path, classes: list[str]) -> None:
        self.folder, self.out, self.classes = folder, out, classes
        self._stems: set[Path] = set()
        out.mkdir(parents=True, exist_ok=True)

    def add(self, picture: Path, answer: Segmentation) -> None:
        """Write the labels of one picture.

        Raises:
            UnusableImage: another picture has the same file of labels.
            LexisegError, OSError: its labels cannot be written.
        """
        name = picture.relative_to(self.folder)
        if self.suffix is not None:
            if name.with_suffix("") in self._stems:
                raise UnusableImage(f"{picture}: another picture has its name, but for the suffix")
            self._stems.add(name.with_suffix(""))
        self.write(name, answer)

    @abstractmethod
    def write(self, name: Path, answer: Segmentation) -> None:
        """Write, or keep for `close`, the labels of a picture named relative to the folder."""

    def close(self) -> None:  # noqa: B027
        """Write what the pictures share."""

    def put(self, name: str | Path, text: str) -> None:
        """Write a file of the data set, whole or not at all."""
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())

    def put_picture(self, folder: str, name: Path) -> None:
        """Link or copy a picture into a folder of the data set."""
        image = self.out / folder / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.unlink(missing_ok=True)
        try:
            os.link(self.folder / name, image)
        except OSError:  # another file system
            shutil.copyfile(self.folder / name, image)


class Coco(Writer):
    """annotations/ and images/ (links to the pictures, or copies), as pycocotools, CVAT and datumaro read them."""

    def __init__(self, folder: Path, out: Path, classes: list[str]) -> None:
        super().__init__(folder, out, classes)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def write(self, name: Path, answer: Segmentation) -> None:
        self.put_picture(coco.IMAGES, name)
        number = len(self._images) + 1
        self._annotations += coco.coco_annotations(answer.segments, number, len(self._annotations) + 1)
        height, width = answer.size
        self._images.append({"id": number, "file_name": name.as_posix(), "width": width, "height": height})

    def close(self) -> None:
        categories = [{"id": place, "name": name} for place, name in enumerate(self.classes, 1)]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        self.put(coco.ANNOTATIONS, json.dumps(content))


class Yolo(Writer):
    """images/ (links to the pictures, or copies), labels/, data.yaml, train.txt and val.txt, as Ultralytics trains."""

    suffix = ".txt"

    def __init__(self, folder: Path, out: Path, classes: list[str]) -> None:
        super().__init__(folder, out, classes)
        self._names: list[str] = []

    def write(self, name: Path, answer: Segmentation) -> None:
        self.put(Path("labels", name).with_suffix(".txt"), answer.to_yolo())
        self.put_picture("images", name)
        self._names.append(name.as_posix())

    def close(self) -> None:
        self.put("data.yaml", yolo.data_yaml(self.classes))
        lists: dict[str, str] = {}
        for file, line in yolo.splits(self._names):
            lists[file] = lists.get(file, "") + line
        for file, lines in lists.items():
            self.put(file, lines)


class Labelme(Writer):
    """A JSON file for each picture, which names it by its path from there."""

    suffix = ".json"

    def write(self, name: Path, answer: Segmentation) -> None:
        place = (self.out / name).parent
        path = Path(os.path.relpath(self.folder / name, place)).as_posix()
        self.put(name.with_suffix(".json"), json.dumps(answer.to_labelme(path, simplify=1)))


class LabelStudio(Writer):
    """tasks.json with a prediction for each picture, which Label Studio serves from its local files."""

    def __init__(self, folder: Path, out: Path, classes: list[str]) -> None:
        super().__init__(folder, out, classes)
        self._tasks: list[dict[str, Any]] = []

    def write(self, name: Path, answer: Segmentation) -> None:
        self._tasks.append(answer.to_label_studio(f"/data/local-files/?d={quote(name.as_posix())}"))

    def close(self) -> None:
        self.put("tasks.json", json.dumps(self._tasks))


WRITERS: dict[str, type[Writer]] = {"coco": Coco, "yolo": Yolo, "labelme": Labelme, "label-studio": LabelStudio}


def writer_of(to: str, folder: Path, out: Path | None, classes: list[str]) -> Writer:
    """The writer of a data set; `out` is by default beside the folder, as FOLDER-coco. Raises ValueError: no such."""
    if to not in WRITERS:
        raise ValueError(f"to: expected one of {', '.join(WRITERS)}, got {to!r}")
    folder = Path(os.path.abspath(folder))
    return WRITERS[to](folder, out or folder.with_name(f"{folder.name}-{to}"), classes)


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
        if labelled:
            writer.close()
        else:
            with suppress(OSError):  # it held files before
                writer.out.rmdir()
    if not labelled and failed:
        raise next(iter(failed.values()))
    return LabelledFolder(writer.out, labelled, failed)
