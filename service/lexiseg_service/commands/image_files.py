"""Images of a command line: files, folders, patterns, URLs and the standard input."""

from __future__ import annotations

import glob
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import httpx

from lexiseg_service.errors import ServiceError, TooLarge
from lexiseg_service.settings import Limits

STDIN = "-"
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".hif", ".avif", ".bmp", ".tif", ".tiff"}
)
LEDGERS = ("annotations.json", ".lexiseg.json")  # one of them is in every folder of results
SECONDS = 30.0  # for a URL
REDIRECTS = 5


class Unreadable(ServiceError):
    """An image that cannot be read."""


@dataclass(frozen=True)
class Source:
    """One image: a file, a URL, or `-`. `name` stands for it in messages and annotations."""

    name: str
    path: Path | None = None  # of a file

    @property
    def stem(self) -> str:
        """Name, without a suffix, of the files written for this image."""
        if self.path is not None:
            return self.path.stem
        return "stdin" if self.name == STDIN else PurePosixPath(unquote(urlsplit(self.name).path)).stem or "image"

    @property
    def stamp(self) -> int:
        """Nanoseconds of a file's last change; 0 where it cannot be read."""
        try:
            return 0 if self.path is None else self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def read(self, limits: Limits) -> bytes:
        """The encoded image.

        Raises:
            Unreadable: it cannot be read; the message says why.
            TooLarge: it has more bytes than the limit.
        """
        if self.path is not None:
            return read_bounded(self.path, limits)
        return _bounded(sys.stdin.buffer, limits) if self.name == STDIN else _fetched(self.name, limits)


def read_bounded(path: Path, limits: Limits) -> bytes:
    """An image's file, read up to the limit.

    Raises:
        Unreadable: it cannot be read.
        TooLarge: it has more bytes than the limit.
    """
    try:
        with path.open("rb") as file:
            return _bounded(file, limits)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None


def _bounded(file: BinaryIO, limits: Limits) -> bytes:
    content = file.read(limits.max_image_bytes + 1)
    if len(content) > limits.max_image_bytes:
        raise TooLarge(f"more than {limits.max_image_bytes:,} bytes")
    return content


def sources_of(given: Sequence[str | Path], out: Path | None = None) -> list[Source]:
    """The images of a command line, each once, in the order in which they were given.

    Args:
        given: files; folders, with every image file in them and below; patterns (`photos/**/*.jpg`) that are not a
            file's name; http and https URLs; `-`.
        out: the folder of results. Files in it, or in folders of results beside it (`out-2`), are left out of folders
            and patterns: a second run would take the pictures that the first has written.

    Raises:
        Unreadable: a folder has no images, no file fits a pattern, or none of the files exists.
    """
    found: dict[str, Source] = {}
    for word in given:
        for source in _expanded(str(word), out):
            found.setdefault(source.name, source)
    if all(source.path is not None and not source.path.exists() for source in found.values()):
        raise Unreadable("\n".join(f"{name}: No such file" for name in found))
    return list(found.values())


def _expanded(word: str, out: Path | None) -> list[Source]:
    if word == STDIN:
        return [Source(STDIN)]
    if word.startswith(("http://", "https://")):
        return [Source(word)]
    path = Path(word)
    if path.is_dir():
        images = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        files = _not_written(images, path, out)
        if not files:
            raise Unreadable(f"{word}: a folder without images")
        return [Source(str(file), file) for file in files]
    if not path.exists() and glob.has_magic(word):
        fitting = [Path(name) for name in sorted(glob.glob(word, recursive=True)) if Path(name).is_file()]
        plain = takewhile(lambda part: not glob.has_magic(part), path.parts)
        files = _not_written(fitting, Path(*plain), out)
        if not files:
            raise Unreadable(f"{word}: no file fits the pattern")
        return [Source(str(file), file) for file in files]
    return [Source(word, path)]


def _not_written(files: list[Path], given: Path, out: Path | None) -> list[Path]:
    """Leave out files in folders of results below the given folder."""
    if out is None or given.resolve() not in out.resolve().parents:
        return files
    beside = out.resolve().parent
    others = re.compile(rf"{re.escape(out.resolve().name)}-[0-9]+")
    written = {out.resolve()} | {
        folder
        for folder in beside.iterdir()
        if others.fullmatch(folder.name) and any((folder / name).exists() for name in LEDGERS)
    }
    return [file for file in files if written.isdisjoint(file.resolve().parents)]


def fetch(client: httpx.Client, url: str, max_bytes: int) -> bytes:
    """A URL's content, read until it has more than `max_bytes`.

    Raises:
        httpx.HTTPStatusError: the server refuses.
        httpx.HTTPError, httpx.InvalidURL: it cannot be asked.
    """
    content = bytearray()
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > max_bytes:
                break
    return bytes(content)


def _fetched(url: str, limits: Limits) -> bytes:
    """A URL's content. The user may fetch whatever his machine reaches; time and bytes are bounded."""
    try:
        with httpx.Client(follow_redirects=True, max_redirects=REDIRECTS, timeout=SECONDS) as client:
            return _bounded(io.BytesIO(fetch(client, url, limits.max_image_bytes)), limits)
    except httpx.HTTPStatusError as error:
        raise Unreadable(f"the server answers {error.response.status_code}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreadable(str(error) or type(error).__name__) from None
