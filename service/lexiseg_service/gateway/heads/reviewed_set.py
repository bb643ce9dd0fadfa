"""Labelled pictures in any layout of annotation tools, as reviewed pictures that teach a head.

    folder, zip or tar -> `lexiseg data import` in a sandbox -> an indexed set -> pictures with a mask for each class

The importer comes with lexiseg-train and is asked as a command: nothing here imports it, and only it pays for a
hostile file. What it has written is a stranger's as well: files of bounded size, within its folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, BinaryIO

import numpy as np
import structlog
from PIL import Image

from lexiseg_labels.masks import rle
from lexiseg_model.files import sandbox
from lexiseg_model.files.sandbox import Limits, Sandbox
from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES
from lexiseg_service.entry_points import COMMANDS, entry_points_of
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, NotReady, SwitchedOff
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, ARCHIVE_FILE, PROGRAM, unpacked_bytes, without_paths
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.shares import CLIENT_SHARE, Shares

logger = structlog.get_logger("lexiseg.heads")
SET, OUTPUT = "set", "output.txt"  # in the folder that the importer writes into
BACKGROUND = "background"  # a class of the set that is none of the head's
IGNORE = 255  # of a mask: unknown
LISTINGS = (".json", ".xml", ".yaml", ".yml")  # files of labels
MAX_LIST_BYTES = 2**20  # of the names of classes or pictures, or of the report
MAX_FILE_BYTES = 2**24  # of a picture or a mask
MAX_PIXELS = 2**25  # of a mask
MAX_OUTPUT_BYTES = 2**16  # of the end of what the importer prints
MAX_REASON = 500  # characters
MAX_ARCHIVE_BYTES = 194 * 2**20  # of an archive, and of any head as a file: one key's lessons and their list
MAX_UNPACKED_BYTES = 256 * 2**20
MEMORY_BYTES = 2 * 2**30  # of the importer
MAX_READING = 2  # at a time, one of each client
PREFIX = ".archive-"  # of the folder in which one is read; then its owner and "~"
START_SECONDS = 1.0  # from the making of a folder to its lock
ERROR, TRACEBACK = "\nlexiseg: ", "\nTraceback "  # in what it prints


@dataclass(frozen=True)
class LabelledFile:
    """A picture of a set: its name there, its JPEG, and the run lengths of its classes; the class None is unknown."""

    key: str
    jpeg: bytes
    size: tuple[int, int]  # height, width
    masks: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True)
class ReviewedSet:
    """The classes of a set, its pictures, the ones for training first, and sentences about what is left out."""

    classes: tuple[str, ...]
    pictures: tuple[LabelledFile, ...]
    warnings: tuple[str, ...] = ()


def check_importer() -> None:
    """Raise SwitchedOff: the importer is not installed."""
    if "data" not in entry_points_of(COMMANDS):
        raise SwitchedOff(f"{ARCHIVE}: data sets are not read here; lexiseg-train, which reads them, is not installed")


async def read(source: Path, place: Path, limits: Limits) -> ReviewedSet:
    """Read a folder, a zip, a tar, or a file of labels; the importer writes into `place`, an empty folder."""
    source, place = source.resolve(), place.resolve()
    await _import(source, place, limits)
    try:
        return await asyncio.to_thread(_read, place / SET)
    except (OSError, ValueError, LookupError, TypeError, Image.DecompressionBombError) as error:
        logger.warning("imported set unreadable", error=f"{type(error).__name__}: {error}"[:MAX_REASON])
        raise InvalidValue.of(ARCHIVE, "a set whose masks cannot be read", "pictures with their labels") from None


async def _import(source: Path, place: Path, limits: Limits) -> None:
    around = source.parent if source.suffix.lower() in LISTINGS else source
    room = Sandbox(place, [around], [place], limits, {"TMPDIR": str(place)})
    command = [*PROGRAM, "data", "import", str(source), str(place / SET), "--least", "1"]
    with (place / OUTPUT).open("wb") as output:
        process = await asyncio.to_thread(room.start, command, output)
    try:
        async with asyncio.timeout(limits.seconds):
            status = await asyncio.to_thread(process.wait)
    except TimeoutError:
        raise DeadlineExceeded(
            f"{ARCHIVE}: it was not read within {limits.seconds:.0f} s; send fewer pictures"
        ) from None
    finally:
        sandbox.end_process(process, 0.0)  # at once: its children, too
    if status:
        raise InvalidValue(f"{ARCHIVE}: {_reason(status, _end_of(place / OUTPUT))}")


def _reason(status: int, output: str) -> str:
    """Why the importer has failed, by its status and what it has printed last."""
    if -status in (signal.SIGKILL, signal.SIGXCPU, signal.SIGXFSZ) or "MemoryError" in output:
        return "reading it takes more memory or time than a set may; send fewer pictures"
    if TRACEBACK in output or ERROR not in output:
        logger.warning("import failed", status=status, output=output[-MAX_REASON:])
        return "it cannot be read as a set of pictures with labels"
    return " ".join(output.rpartition(ERROR)[2].split())[:MAX_REASON]  # one line: it may show a folder


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_OUTPUT_BYTES))
        return f"\n{file.read().decode(errors='replace')}"


def _read(folder: Path) -> ReviewedSet:
    """The indexed set in a folder. Raises OSError, ValueError, LookupError, TypeError, InvalidValue: as `read`."""
    names = _listed(folder, "classes.json")
    classes = tuple(str(name) for name in names if name != BACKGROUND)
    if len(classes) > MAX_CLASSES:
        raise InvalidValue.of(ARCHIVE, f"{len(classes)} classes", f"at most {MAX_CLASSES} of a head")
    by_split = _listed(folder, "names.json")
    if (count := sum(map(len, by_split.values()))) > MAX_PICTURES:
        raise InvalidValue.of(ARCHIVE, f"{count:,} pictures", f"at most {MAX_PICTURES} of a head")
    warnings = tuple(map(str, _listed(folder, "report.json")["warnings"]))
    return ReviewedSet(classes, tuple(_pictures(folder, names, by_split)), warnings)


def _pictures(folder: Path, classes: list[str], by_split: dict[str, list[str]]) -> Iterator[LabelledFile]:
    for split, keys in sorted(by_split.items()):
        for number, key in enumerate(keys):
            jpeg = _inside(folder, f"{split}/images/{number:05}.jpg", MAX_FILE_BYTES).read_bytes()
            with Image.open(_inside(folder, f"{split}/masks/{number:05}.png", MAX_FILE_BYTES), formats=["PNG"]) as mask:
                if mask.width * mask.height > MAX_PIXELS:
                    raise ValueError(f"a mask of {mask.width} x {mask.height} pixels")
                labels = np.asarray(mask)
            named = [(None if value == IGNORE else classes[value], labels == value) for value in np.unique(labels)]
            masks = tuple((name, rle.encode(region)) for name, region in named if name != BACKGROUND)
            yield LabelledFile(str(key), jpeg, (labels.shape[0], labels.shape[1]), masks)


def _listed(folder: Path, name: str) -> Any:
    return json.loads(_inside(folder, name, MAX_LIST_BYTES).read_bytes())


def _inside(folder: Path, name: str, max_bytes: int) -> Path:
    """A file of a folder. Raises ValueError: a link leads out of it, or it is too large."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.is_file() or path.stat().st_size > max_bytes:
        raise ValueError(f"{name}: a link, or more than {max_bytes:,} bytes")
    return path


class ArchiveDesk:
    """Reads archives, few at a time, and keeps them in a folder meanwhile (None: of temporary files)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = Path(gettempdir()) if folder is None else folder
        self._places = Shares("archives that are being read", MAX_READING, CLIENT_SHARE)

    async def read(self, content: BinaryIO, caller: Caller, deadline: float) -> ReviewedSet:
        """The labelled pictures of a zip, until a deadline in `time.monotonic()`."""
        check_importer()
        try:
            with self._places.take(caller.client):
                return await self._read(content, caller.owner, deadline)
        except OSError as error:
            raise NotReady(f"{ARCHIVE}: it cannot be kept now: {error.strerror or error}", AWAY_SECONDS) from None

    def remove_leftovers(self, owner: str | None = None) -> int:
        """Remove folders that ended processes left, of one owner or all; returns their number."""
        number = 0
        for place in self._folder.glob(f"{PREFIX}*" if owner is None else f"{PREFIX}{owner}~*"):
            with suppress(OSError):  # another gateway was faster, or it is another user's
                if time.time() - place.stat().st_mtime > START_SECONDS and (guard := _lock(place)) is not None:
                    shutil.rmtree(place, ignore_errors=True)
                    os.close(guard)
                    number += 1
        return number

    async def _read(self, content: BinaryIO, owner: str, deadline: float) -> ReviewedSet:
        place = Path(await asyncio.to_thread(mkdtemp, prefix=f"{PREFIX}{owner}~", dir=self._folder)).resolve()
        guard = _lock(place)
        try:
            await asyncio.to_thread(_keep, content, place / ARCHIVE_FILE)
            seconds = max(1.0, deadline - time.monotonic())
            limits = Limits(seconds, int(seconds) + 1, MEMORY_BYTES, MAX_UNPACKED_BYTES)
            return await read(place / ARCHIVE_FILE, place, limits)
        except InvalidValue as error:
            error.detail = without_paths(error.detail, place)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            if guard is not None:
                os.close(guard)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None: a process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _keep(content: BinaryIO, path: Path) -> None:
    unpacked_bytes(content, MAX_UNPACKED_BYTES)
    content.seek(0)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
