"""Download published archives to a folder: a download that was cut off goes on, and each file is checked.

Bytes are appended to `NAME.part`, which gets its name once it is whole. A file that changed on the server meanwhile is
known by its tag (If-Range), one that is not the published one by its size and digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.preparing.official import Archive

SECONDS = 60.0  # without a byte
MAX_BYTES = 64 << 30  # of a file without a published size
PART, TAG = ".part", ".tag"  # suffixes


def download(
    archive: Archive,
    folder: Path,
    mirror: str | None = None,
    on_bytes: Callable[[int], object] = lambda _: None,
) -> Path:
    """Download an archive, unless it is there, from its address or the folder `mirror`; what was cut off goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.names[0]
    if target.is_file():
        return target
    address = f"{mirror.rstrip('/')}/{archive.names[0]}" if mirror else str(archive.url)
    part = target.with_name(target.name + PART)
    on_bytes(_size(part))
    while True:
        before = _size(part)
        try:
            _append(address, part, archive.size or MAX_BYTES, on_bytes)
            break
        except httpx.HTTPError as error:
            if _size(part) <= before:  # nothing came since the last time
                reason = f"{type(error).__name__}: {error}"
                raise DatasetError(f"{address}: {reason}; start again to go on at byte {before:,}") from None
    _require_published(address, archive, part)
    os.replace(part, target)
    _tag_of(part).unlink(missing_ok=True)
    return target


def _append(address: str, part: Path, max_bytes: int, on_bytes: Callable[[int], object]) -> None:
    """Ask for the bytes that a file lacks. Raises httpx.HTTPError: the connection broke; DatasetError otherwise."""
    offset, tag = _size(part), _tag_of(part)
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        headers |= {"If-Range": earlier} if tag.is_file() and (earlier := tag.read_text()) else {}
    with httpx.stream("GET", address, headers=headers, timeout=SECONDS, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if answer.headers.get("content-range") == f"bytes */{offset}":
                return  # it was whole
            part.unlink()
            raise DatasetError(f"{address} is another file than before: start again")
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DatasetError(f"{address} answers {answer.status_code}; --mirror names another place")
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if goes_on and not answer.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            raise DatasetError(f"{address} sends other bytes than {offset:,} on, which were asked for")
        length = int(answer.headers.get("content-length") or 0)
        if length > shutil.disk_usage(part.parent).free:
            raise DatasetError(f"{address} has {length:,} more bytes; {part.parent} has no room for them")
        strong = answer.headers.get("etag", "W/")
        tag.write_text(answer.headers.get("last-modified", "") if strong.startswith("W/") else strong)
        if not goes_on:
            on_bytes(-offset)
        n_bytes = offset if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            for piece in answer.iter_raw():  # as they arrive: what is waited for is lost with the connection
                if (n_bytes := n_bytes + len(piece)) > max_bytes:
                    raise DatasetError(f"{address} has more than {max_bytes:,} bytes")
                file.write(piece)
                on_bytes(len(piece))


def _require_published(address: str, archive: Archive, part: Path) -> None:
    """Compare size and digest, or where neither is published see that it is a whole zip; another file is removed."""
    algorithm, _, published = (archive.digest or "").partition(":")
    fault = f"{_size(part):,} bytes, not {archive.size:,}" if archive.size not in (None, _size(part)) else ""
    if not fault and published:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        fault = f"{algorithm} {digest}, not {published}" if digest != published else ""
    elif not fault and archive.size is None and archive.names[0].endswith(".zip") and not zipfile.is_zipfile(part):
        fault = f"{_size(part):,} bytes, which are no zip or not all of it"
    if fault:
        part.unlink()
        raise DatasetError(f"{address} has {fault}: it is not the published archive, and was removed")


def _tag_of(part: Path) -> Path:
    return part.with_suffix(TAG)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
