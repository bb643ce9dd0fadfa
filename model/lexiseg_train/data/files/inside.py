"""The files of a data set, and its zip or tar unpacked: names stay inside, bytes and files are counted.

A name that the set states is looked up among them, so it leads to nothing else on the disk.

Names are found as people have them: with Windows' separators and capitals, decomposed as macOS stores them, in the code
page of a zip, or below the folder of another machine. VIDEO/frame_000012.png is the thirteenth frame of a video.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.names import fitting
from lexiseg_labels.picture_names import is_video_name
from lexiseg_model.errors import DatasetError, TooManyEntriesError
from lexiseg_model.files.archives import PLAIN, entries_of, open_tar, open_zip, parts_of
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_train.data.files.documents import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_FILES, MAX_FILES, MAX_PATH_PARTS

FRAME = re.compile(r"frame_(\d{6,9})\.png")
# Of MP4 and MOV, Matroska and WebM, AVI. FFmpeg goes by the content, and a playlist may name any file or address.
CONTAINERS = re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL)
DRIVE = re.compile(r"^[A-Za-z]:/")
MACOS = "__MACOSX"  # in its archives, in addition to what was packed
ZIP_PAGE = "cp437"  # in which Python reads a zip's names that are not marked as UTF-8
PAGES = ("utf-8", "cp850", "cp1252", "cp866", "cp1251", "cp1250", "shift_jis", "gbk", "euc_kr")
MAX_FOREIGN_PARTS = 8  # of a path of another machine, from its end, that are tried here
MAX_NAMED = 3  # files in a message
CHUNK = 1 << 20
BYTES_PER_ENTRY = 512  # of a zip's directory: 46, a name and extra fields
LINK = 0xA000  # file type of a symbolic link, as Unix stores it in a zip
# As the parsers of both say it; RuntimeError: encrypted.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, EOFError, LZMAError, RuntimeError,
)  # fmt: skip
Member = tuple[str, IO[bytes]]


def picture_bytes(path: Path) -> bytes:
    """The content of a picture's file; of a frame as BMP. Raises OSError: it cannot be read."""
    match = FRAME.fullmatch(path.name)
    if match is None or not is_video_name(path.parent) or path.parent.is_dir():
        return path.read_bytes()
    _, content = cv2.imencode(".bmp", _opened(path.parent).frame(int(match[1])))
    return content.tobytes()


class _Video:
    """Reads the frames of a video in rising order fast; before an earlier one it begins anew."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if CONTAINERS.match(file.read(12)) is None:
                raise OSError(errno.EINVAL, "it is no MP4, MOV, Matroska, WebM or AVI", str(path))
        self._path = path
        self._open()

    def _open(self) -> None:
        self._next = 0
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Pixels [H, W, 3] in BGR, upright. Raises OSError: there is no such frame."""
        if number < self._next:
            self._open()
        while self._next <= number and self._capture.grab():
            self._next += 1
        is_read, pixels = self._capture.retrieve() if self._next > number else (False, None)
        if not is_read or pixels is None:
            raise OSError(errno.EINVAL, f"the video has no frame {number}, or cannot be decoded", str(self._path))
        return np.asarray(pixels, np.uint8)


_opened = lru_cache(maxsize=1)(_Video)


def confined(path: Path, root: Path) -> Path | None:
    """A path, if it leads to a place inside a resolved folder, all links followed; else None."""
    try:
        real = path.resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, a name too long, links in a circle before Python 3.13
        return None
    return path if real.is_relative_to(root) and not real.is_symlink() else None  # a link still: in a circle


class SetFiles:
    """The visible files below a folder, without links that lead out; below `root` they may name others."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder
        self.root = (root or folder).resolve()
        self.leading_out: list[str] = []
        self._count = 0
        self._by_key: dict[str, Path] = {}
        for path in sorted(self._walk(folder, (self.folder.resolve(),))):
            self._by_key.setdefault(self._key(path), path)

    def _walk(self, place: Path, above: tuple[Path, ...]) -> Iterator[Path]:
        """Files below a place; a link to a folder is followed, in circles once."""
        try:
            with os.scandir(place) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # not for us
            return
        for entry in listed:
            path = place / entry.name
            if is_hidden(entry.name) or entry.name == MACOS:
                continue
            if entry.is_symlink() and confined(path, self.root) is None:
                self.leading_out.append(path.relative_to(self.folder).as_posix())
            elif entry.is_dir():
                real = path.resolve() if entry.is_symlink() else path
                if real not in above and len(above) < MAX_PATH_PARTS:
                    yield from self._walk(path, (*above, real))
            elif entry.is_file():
                self._count += 1
                if self._count > MAX_FILES:
                    raise DatasetError(f"{self.folder} has more than {MAX_FILES:,} files")
                yield path

    def _key(self, path: Path) -> str:
        return unicodedata.normalize("NFC", path.relative_to(self.folder).as_posix())

    def __iter__(self) -> Iterator[Path]:
        return iter(self._by_key.values())

    def below(self, place: str) -> list[Path]:
        """The files in a folder of the set and below it, by its path in the set; "." is all."""
        if place.startswith("/"):  # as `find_folder` gives one outside
            return [*SetFiles(Path(place), self.root)]
        start = "" if place == "." else f"{place}/"
        return [path for key, path in self._by_key.items() if key.startswith(start)]

    def in_folder(self, place: str) -> list[Path]:
        return self._by_folder.get(place, [])

    def file(self, place: str) -> Path | None:
        """The file at a path in the set, or the frame of a video in it; None: there is none."""
        if self._is_wide and place.startswith("/"):
            return self._beside(place, (".",))
        path = PurePosixPath(unicodedata.normalize("NFC", place))
        if str(path) not in self._by_key and FRAME.fullmatch(path.name) and is_video_name(path.parent):
            video = self.file_like(str(path.parent))
            return None if video is None else video / path.name
        return self._by_key.get(str(path))

    def place_of(self, path: Path) -> str:
        """The path of a file in the set, as `file` takes it; a file outside its folder by its whole path."""
        return self._key(path) if path.is_relative_to(self.folder) else str(path)

    def find(self, named: str, places: Sequence[str] = (".",)) -> Path | None:
        """The file that a set names, relative to one of `places` or by its path on any machine; None: not one."""
        path = named.replace("\\", "/")
        keys = [] if self._is_absolute(path) else [posixpath.normpath(f"{place}/{path}") for place in places]
        for key in keys:
            if (file := self.file_like(key)) is not None:
                return file
        if (file := self._beside(named, places)) is not None:
            return file
        parts = [part for part in PurePosixPath(posixpath.normpath(path)).parts if part not in ("/", "..")]
        # Of another machine: below the folder that this one has in its place. A bare name has to be the only one.
        for start in range(max(0, len(parts) - MAX_FOREIGN_PARTS), len(parts) - 1):
            if (file := self.file_like("/".join(parts[start:]))) is not None:
                return file
        alike = self._by_name.get(_loose(parts[-1]), []) if parts else []
        return alike[0] if len(alike) == 1 else None

    def find_folder(self, named: str) -> str | None:
        """The folder of the set that it names, as `below` takes it, perhaps by another machine's path; None: none."""
        path = posixpath.normpath(named.replace("\\", "/"))
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        starts = range(len(parts)) if self._is_absolute(path) else range(min(1, len(parts)))
        keys = ["/".join(parts[start:]) for start in starts] if parts else ["."]
        outside = Path(os.path.abspath(self.folder / path))
        if self._is_wide and confined(outside, self.root) is not None and outside.is_dir():
            here = self.folder.absolute()
            return outside.relative_to(here).as_posix() if outside.is_relative_to(here) else outside.as_posix()
        return next((place for key in keys if (place := self.folder_like(key)) is not None), None)

    def folders(self) -> list[str]:
        return sorted({key.split("/")[0] for key in self._by_key if "/" in key})

    def folder_like(self, place: str) -> str | None:
        """The folder at a path in the set, in any capitals; None: there is none."""
        if place == "." or any(key.startswith(f"{place}/") for key in self._by_key):
            return place
        steps = _loose(place).split("/")
        alike = {"/".join(each.split("/")[: len(steps)]) for each in self._by_key if each.count("/") >= len(steps)}
        return next((each for each in sorted(alike) if _loose(each).split("/") == steps), None)

    @property
    def _is_wide(self) -> bool:
        """Whether files outside the folder may be named."""
        return self.root != self.folder.resolve()

    def _is_absolute(self, path: str) -> bool:
        return path.startswith(("/", "~")) or DRIVE.match(path) is not None

    def file_like(self, key: str) -> Path | None:
        """The file at a path in the set, else the only one at such a path in other capitals; None: there is none."""
        if (file := self.file(key)) is not None:
            return file
        alike = self._alike.get(_loose(key), [])
        return alike[0] if len(alike) == 1 else None

    def _beside(self, named: str, places: Sequence[str]) -> Path | None:
        for place in places if self._is_wide else ():
            path = Path(os.path.abspath(self.folder / place / named))
            if confined(path, self.root) is not None and path.is_file():
                inside = path.is_relative_to(self.folder.absolute())
                return self.folder / path.relative_to(self.folder.absolute()) if inside else path
        return None

    @cached_property
    def _alike(self) -> dict[str, list[Path]]:
        """Files by all that their paths may have been before they came here."""
        return _by_readings(self._by_key.items())

    @cached_property
    def _by_folder(self) -> dict[str, list[Path]]:
        by_folder: defaultdict[str, list[Path]] = defaultdict(list)
        for key, path in self._by_key.items():
            by_folder[key.rpartition("/")[0] or "."].append(path)
        return dict(by_folder)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _by_readings((path.name, path) for path in self)

    def links_sentence(self) -> tuple[str, ...]:
        if not self.leading_out:
            return ()
        named = ", ".join(self.leading_out[:MAX_NAMED])
        return (as_text(f"{len(self.leading_out)} links lead out of {self.folder} and are left out, such as {named}"),)


def _by_readings(named: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    by_reading: defaultdict[str, list[Path]] = defaultdict(list)
    for name, path in named:
        for reading in dict.fromkeys(_readings(name)):
            by_reading[reading].append(path)
    return dict(by_reading)


def _readings(name: str) -> Iterator[str]:
    """A name, and what its bytes may mean in other code pages."""
    yield _loose(name)
    if name.isascii():
        return
    try:
        raw = os.fsencode(name) if any("\udc80" <= letter <= "\udcff" for letter in name) else name.encode(ZIP_PAGE)
    except UnicodeEncodeError:
        return
    for page in PAGES:
        try:
            yield _loose(raw.decode(page))
        except UnicodeDecodeError:
            continue


def _loose(name: str) -> str:
    """A name without what file systems change: composition and capitals."""
    return unicodedata.normalize("NFC", name).casefold()


def is_archive(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        if zipfile.is_zipfile(path):
            return True
        with path.open("rb") as content, open_tar(content, compressed=True):
            return True
    except (OSError, *DAMAGED):
        return False


def unpack(
    path: Path, folder: Path, max_files: int = MAX_ARCHIVE_FILES, max_bytes: int = MAX_ARCHIVE_BYTES
) -> tuple[str, ...]:
    """Unpack a zip or a tar without hidden files into a folder; returns sentences about links and devices, left out."""
    left, n_files, skipped = max_bytes, 0, list[str]()
    with _damage_named(path, max_files), path.open("rb") as content:
        folder.mkdir(parents=True, exist_ok=True)
        read = _in_zip if content.read(2) == b"PK" else _in_tar
        content.seek(0)
        for name, member in read(content, max_files, skipped):
            parts = parts_of(name)
            if not parts or DRIVE.match(name.replace("\\", "/")):
                raise DatasetError(as_text(f"{path} holds the name {name!r:.100}; expected names inside the archive"))
            if any(is_hidden(part) or part == MACOS for part in parts):
                continue
            n_files += 1
            if n_files > max_files:
                raise DatasetError(f"{path} has more than {max_files:,} files, which is the most that is read")
            target = folder.joinpath(*map(fitting, parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := member.read(CHUNK):
                    if (left := left - len(piece)) < 0:
                        raise DatasetError(f"{path} has more than {max_bytes:,} bytes unpacked, the most that is read")
                    file.write(piece)
    if not skipped:
        return ()
    return (as_text(f"{len(skipped)} links or devices in {path} are left out, such as {skipped[0]:.100}"),)


@contextmanager
def _damage_named(path: Path, max_files: int) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        name = Path(str(error.filename)).name
        raise DatasetError(as_text(f"{path} holds one name twice, as a file or a folder: {name:.100}")) from None
    except TooManyEntriesError as error:
        raise DatasetError(f"{path} has {error}; expected at most {max_files:,} files") from None
    except DAMAGED as error:
        reason = " ".join(str(error).split())  # tarfile names each way that it tried on a line
        raise DatasetError(f"{path} is damaged, cut off or encrypted: {reason}") from None


def _in_zip(content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    with open_zip(content, 2 * max_files * BYTES_PER_ENTRY) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.external_attr >> 16 & 0xF000 == LINK:
                skipped.append(entry.filename)
                continue
            if entry.compress_type not in PLAIN:
                raise zipfile.BadZipFile(f"{entry.filename[:80]!r} is neither stored nor deflated")
            with archive.open(entry) as member:
                yield entry.filename, member


def _in_tar(content: BinaryIO, max_files: int, skipped: list[str]) -> Iterator[Member]:
    with open_tar(content, compressed=True) as archive:
        for entry in entries_of(archive, 2 * max_files):  # a tar has folders, too
            if entry.isdir():
                continue
            member = archive.extractfile(entry) if entry.isreg() else None
            if member is None:
                skipped.append(entry.name)
                continue
            with member:
                yield entry.name, member
