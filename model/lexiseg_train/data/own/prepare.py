"""The importer: a folder, a zip or a tar with a user's pictures becomes an indexed data set, and a report.

    archive -> folder -> layout -> every picture and mask read and checked -> pictures by number, masks, class list

What the set names is looked for only inside it. Pictures that cannot be used are left out and counted. They are
written upright and at a reduced size.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text, to_utf8
from lexiseg_model.pictures import MIN_SIDE
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.alike import Miniature, miniature, pixel_digest, unite, write_groups
from lexiseg_train.data.files.documents import MAX_PICTURES
from lexiseg_train.data.files.inside import is_archive, unpack
from lexiseg_train.data.indexed import (
    IGNORE,
    Reading,
    evenly_spread,
    one_value_warning,
    to_jpeg,
    write_classes,
    write_sample,
)
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.masks import OwnPictures, read_mask_file

MIN_PHOTOGRAPHS = 4
MIN_RECOMMENDED = 8  # photographs below which there is a warning
MAX_REPORTED = 8  # faults of a kind in a message
MAX_LISTED = 100  # pictures of a report that are left out
MAX_WARNINGS = 100
MAX_SHORT_SIDE = 512  # pixels; no method here uses more of a whole picture
REPORT = "report.json"
NAMES = "names.json"  # names of the pictures in the set, by split; the place in the list is the number


@dataclass(frozen=True)
class ClassCount:
    """A class, and the numbers of photographs and of their pixels, at the written size, that show it."""

    name: str
    pictures: int
    pixels: int


@dataclass(frozen=True)
class Report:
    layout: str  # what it was read as, such as "COCO"
    classes: tuple[ClassCount, ...]  # without the background
    photographs: dict[str, int]  # number of used pictures by split: `train`, and `val` where one is held out
    left_out: int  # number of pictures that are not used
    left_out_pictures: tuple[str, ...]  # the first MAX_LISTED of them, each with the reason
    unknown_pixels: int  # of all pictures: of no class and no background
    background_pixels: int  # of all pictures
    warnings: tuple[str, ...]  # sentences for people

    def lines(self) -> list[str]:
        total = sum(each.pixels for each in self.classes) + self.unknown_pixels + self.background_pixels
        counts = ", ".join(f"{split} {count:,}" for split, count in self.photographs.items()) or "none"
        background, unknown = (_percent(each, total) for each in (self.background_pixels, self.unknown_pixels))
        return [
            f"{self.layout}: photographs {counts}; {self.left_out:,} left out",
            *(f"  {each.name}: photographs {each.pictures:,}, {_percent(each.pixels, total)}" for each in self.classes),
            f"  of all pixels background {background}, unknown {unknown}",
        ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"


def prepare(
    source: Path,
    target: Path,
    limit: int | None = None,
    root: Path | None = None,
    step: Callable[[], None] = lambda: None,
    least: int = MIN_PHOTOGRAPHS,
) -> Report:
    """Check the pictures of a set, and write `target/{train,val}/{images,masks}`, the class list and the report.

    `source` is a folder, a zip or a tar, `root` a folder above, inside which the set may name files; `target` appears
    when it is complete. Of more than `limit` photographs an even selection is used. Equal ones are used once, for
    training if possible; what their masks contradict is unknown. The set must have `least` photographs.
    """
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        report = _import(source, draft, limit, root, step)
        require_enough(report, least)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def survey(source: Path, root: Path | None = None, step: Callable[[], None] = lambda: None) -> Report:
    """What `prepare` would find; nothing is kept. Arguments as there, whatever number can be used."""
    with TemporaryDirectory() as place:
        return _import(source, Path(place, "set"), None, root, step)


def require_enough(report: Report, least: int = MIN_PHOTOGRAPHS) -> None:
    """Raise DatasetError: fewer than `least` can be learned from, or they show no class; says why others cannot."""
    if (n_train := report.photographs.get("train", 0)) >= least:
        if not any(each.pixels for each in report.classes):
            raise DatasetError("; ".join(["no photograph shows a pixel of a class", *report.warnings[:MAX_REPORTED]]))
        return
    reasons = "".join(f"\n  {each}" for each in report.left_out_pictures[:MAX_REPORTED])
    left_out = f"; {report.left_out} are left out:{reasons}" if reasons else ""
    noun = "photographs" if least > 1 else "photograph"
    raise DatasetError(f"expected at least {least} {noun}, the set has {n_train}{left_out}")


def _import(source: Path, target: Path, limit: int | None, root: Path | None, step: Callable[[], None]) -> Report:
    with _unpacked(source, target.parent) as (folder, sentences):
        pictures = read_own(folder, root)
        if len(pictures.train) + len(pictures.held_out) > MAX_PICTURES:
            raise DatasetError(f"{source} has more than {MAX_PICTURES:,} photographs, which is the most that is read")
        if limit is not None:
            pictures = replace(pictures, train=tuple(evenly_spread(pictures.train, limit)))
        report = _read_all(pictures.warned(sentences), target, step)
        places = (pictures.folder, folder)  # the folder around the set, too
        report = replace(
            report,
            warnings=_without_place(report.warnings, *places)[:MAX_WARNINGS],
            left_out_pictures=_without_place(report.left_out_pictures, *places),
        )
    write_whole(target / REPORT, to_utf8(json.dumps(asdict(report), ensure_ascii=False, indent=1)))
    return report


@contextmanager
def _unpacked(source: Path, beside: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    if not is_archive(source):
        yield source.resolve(), ()
        return
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=beside.resolve(), prefix=".unpacked-") as place:
        folder = Path(place, "set")
        try:
            yield folder, unpack(source, folder)
        except DatasetError as error:  # files by their names in the archive
            raise DatasetError(str(error).replace(f"{folder}/", "").replace(str(folder), source.name)) from None


class _Writer:
    """The pictures of a set by split and number, as they are written."""

    def __init__(self, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)  # also of no picture
        self._target = target
        self._masks: dict[str, Path] = {}  # by the digest of their photograph
        self._miniatures: dict[str, list[Miniature]] = {"train": [], "val": []}
        self.names: dict[str, list[str]] = {}
        self._duplicates: list[str] = []
        self._unknown: list[str] = []

    def add(self, split: str, name: str, reading: Reading) -> None:
        """Write the next picture, unless it is there already or nothing is known of it."""
        mask = reduced(reading.mask, cv2.INTER_NEAREST)
        if (reading.mask == IGNORE).all():
            self._unknown.append(name)
        elif (digest := pixel_digest(reading.image)) in self._masks:
            self._duplicates.append(name)
            unite(self._masks[digest], mask)
        else:
            self._miniatures[split].append(miniature(reading.image))
            names = self.names.setdefault(split, [])
            number = f"{len(names):05}"
            names.append(name)
            write_sample(self._target / split, number, to_jpeg(reduced(reading.image)), mask)
            self._masks[digest] = self._target / split / "masks" / f"{number}.png"

    def report(self, pictures: OwnPictures, faults: Sequence[str]) -> Report:
        write_classes(self._target, pictures.classes)
        write_whole(self._target / NAMES, to_utf8(json.dumps(self.names, ensure_ascii=False, indent=1)))
        n_pixels, n_pictures = np.zeros((2, IGNORE + 1), np.int64)
        for path in self._masks.values():
            counts = np.bincount(read_mask_file(path).reshape(-1), minlength=IGNORE + 1)
            n_pixels += counts
            n_pictures += counts > 0
        present = {*np.flatnonzero(n_pixels).tolist()}
        warnings = [*pictures.warnings]
        if pictures.layout == "masks":
            warnings += one_value_warning(pictures.folder.name, present, len(pictures.classes))
        if faults:
            some = "; ".join(faults[:MAX_REPORTED])
            warnings.append(f"photographs or masks that cannot be used, left out: {len(faults)}: {some}")
        warnings += write_groups(self._target, **self._miniatures)
        if self._unknown:
            warnings.append(f"without a known pixel, left out: {len(self._unknown)}, such as {self._unknown[0]}")
        if n_equal := len(self._duplicates):
            warnings.append(f"duplicates, each used once: {n_equal}, such as {self._duplicates[0]}")
        if unused := [name for value, name in pictures.named.items() if value not in present]:
            warnings.append(f"no photograph shows {', '.join(unused)}: nothing is learned about it")
        if (n_train := len(self.names.get("train", ()))) < MIN_RECOMMENDED:
            warnings.append(f"{n_train} to learn from are few; use twenty photographs or more")
        left_out = [*pictures.left_out, *faults, *(f"{name}: no known pixel" for name in self._unknown)]
        left_out += [f"{name}: equal to another" for name in self._duplicates]
        return Report(
            layout=pictures.layout,
            classes=tuple(
                ClassCount(name, int(n_pictures[value]), int(n_pixels[value])) for value, name in pictures.named.items()
            ),
            photographs={split: len(names) for split, names in self.names.items()},
            left_out=len(left_out),
            left_out_pictures=tuple(left_out[:MAX_LISTED]),
            unknown_pixels=int(n_pixels[IGNORE]),
            background_pixels=int(n_pixels[0]) if pictures.classes[0] == BACKGROUND else 0,
            warnings=tuple(map(as_text, warnings)),
        )


def _read_all(pictures: OwnPictures, target: Path, step: Callable[[], None]) -> Report:
    faults: list[str] = []
    writer = _Writer(target)
    for split, picture in [("train", each) for each in pictures.train] + [("val", each) for each in pictures.held_out]:
        step()
        try:
            reading = picture.read(len(pictures.classes))
            if min(reading.mask.shape) < MIN_SIDE:
                raise DatasetError(f"{picture.image} has a side of {min(reading.mask.shape)} pixels, not {MIN_SIDE}")
        except DatasetError as error:
            faults.append(as_text(str(error)))
            continue
        inside = picture.image.is_relative_to(pictures.folder)
        name = picture.image.relative_to(pictures.folder).as_posix() if inside else picture.image.name
        writer.add(split, as_text(name), reading)
    return writer.report(pictures, faults)


def _without_place(sentences: Sequence[str], *places: Path) -> tuple[str, ...]:
    """Sentences with files by their paths in the set, not on this machine."""
    for place in places:
        sentences = [each.replace(f"{place}/", "").replace(str(place), "the set") for each in sentences]
    return tuple(sentences)


def reduced(pixels: NDArray[np.uint8], interpolation: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    """A photograph [H, W, 3] or a mask [H, W] with its shorter side at most `MAX_SHORT_SIDE`."""
    scale = MAX_SHORT_SIDE / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=interpolation).astype(pixels.dtype)
