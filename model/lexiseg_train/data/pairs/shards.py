"""Pairs in tar files as img2dataset writes them: NAME.jpg, NAME.txt and NAME.json.

Each tar is scanned once for the offsets of its files, which are kept next to it as `SHARD.tar.index.npz` if the folder
is writable. Then any pair is read directly, so a run resumes at an exact position.

A shard in an object store, or written by a command, is fetched whole when a pair of it is first read, into a folder of
temporary files that keeps the newest MAX_SHARDS; a run needs few at a time, as pairs are shuffled within some shards
(`training.pair_run.TOGETHER`). Indexes stay: all shards are read once when a run first starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tarfile
import tempfile
import threading
import uuid
import zipfile
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.picture_names import LISTED_SUFFIXES, PICTURE_SUFFIXES
from lexiseg_model.catalogue.store import numbered, open_store, protocol_of
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.archives import files_in
from lexiseg_train.data.pairs.source import PairSource, Skipped, StoredPair, clean_captions

# NumPy parses headers of arrays as Python, which up to Python 3.11.7 fails in threads side by side (gh-106905).
ONE_AT_A_TIME = threading.Lock()
MAX_SHARDS = 64  # of a machine
PIPE = "pipe:"
CAPTION, ABOUT = ".txt", ".json"
MAX_INDEXES = 64  # in memory of one process
ABSENT = -1
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstandard


def is_address(place: Path | str) -> bool:
    """Whether pairs lie elsewhere: `s3://BUCKET/FOLDER`, `s3://BUCKET/{000..123}.tar`, `pipe:COMMAND`."""
    return isinstance(place, str) and (place.startswith(PIPE) or "://" in place)


@dataclass(frozen=True)
class Streamed:
    """One shard; `state` tells versions of an object apart."""

    address: str
    state: str = ""

    def __str__(self) -> str:
        return self.address

    @property
    def path(self) -> Path:
        folder = Path(tempfile.gettempdir(), f"lexiseg-shards-{os.getuid()}")
        return folder / f"{sha256(f'{self.address} {self.state}'.encode()).hexdigest()[:32]}.tar"

    def open(self) -> BinaryIO:
        """Open the local copy; processes that need it at once fetch it once."""
        path = self.path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                content = path.open("rb")
                os.utime(content.fileno())
                return content
            except FileNotFoundError:
                pass
            fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                self._copy(fresh)
                content = fresh.open("rb")
                os.replace(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
        for old in sorted(path.parent.glob("*.tar"), key=_age)[MAX_SHARDS:]:
            old.unlink(missing_ok=True)
        return content

    def _copy(self, target: Path) -> None:
        try:
            if not self.address.startswith(PIPE):
                store, path = open_store(self.address)
                store.get_file(path, str(target))
                return
            with target.open("wb") as content:
                subprocess.run(
                    self.address.removeprefix(PIPE), shell=True, stdout=content, stderr=subprocess.PIPE, check=True
                )
        except subprocess.CalledProcessError as error:
            message = error.stderr.decode(errors="replace").strip()[-200:]
            raise DatasetError(f"{self}: exit status {error.returncode}: {message}") from None
        except OSError as error:
            raise DatasetError(f"{self}: cannot be fetched: {error}") from None


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:  # another process was faster
        return 0


def find_shards(address: str) -> list[Streamed]:
    shards = [shard for each in numbered(address) for shard in _shards_at(each)]
    if not shards:
        raise DatasetError(f"{address} has no .tar shards")
    return shards


def _shards_at(address: str) -> list[Streamed]:
    if address.startswith(PIPE):
        return [Streamed(address)]
    store, root = open_store(address)
    try:
        listing = store.glob(root if root.endswith(".tar") else f"{root}/*.tar", detail=True)
    except OSError as error:
        raise DatasetError(f"{address}: {error}") from None
    return [
        Streamed(f"{protocol_of(address)}://{path}", str(about.get("ETag") or about.get("size")))
        for path, about in sorted(listing.items())
    ]


@dataclass(frozen=True)
class ShardIndex:
    """Offsets of the pairs of one tar; `places` [N, 6]: start and size of photograph, caption and JSON, or ABSENT."""

    names: tuple[str, ...]
    places: NDArray[np.int64]
    damage: str  # why the scan ended early, or empty


class ShardPairs(PairSource):
    """The shards of one folder by name; a part is a shard."""

    def __init__(self, shards: Sequence[Path | Streamed], json_captions: bool = False) -> None:
        """Index tar files. `json_captions`: an empty caption file gives way to the JSON, else the pair is broken."""
        if not shards:
            raise DatasetError("no shards; expected at least one .tar file")
        self.shards = tuple(shards)
        self._json_captions = json_captions
        # Threads wait for the disk; only sizes are kept, since there may be thousands of shards.
        with ThreadPoolExecutor(8) as team:
            sizes = list(team.map(lambda shard: (len((index := index_of(shard)).names), index.damage), self.shards))
        self.sizes: list[int] = [n_pairs for n_pairs, _ in sizes]
        self.damaged = [
            Skipped(str(path), damage) for path, (_, damage) in zip(self.shards, sizes, strict=True) if damage
        ]
        if not any(self.sizes):
            name, reason = self.damaged[0] if self.damaged else (self.shards[0], "holds no pair")
            raise DatasetError(f"{name} {reason}; expected NAME.jpg with NAME.txt, as img2dataset writes them")
        self._ends = list(accumulate(self.sizes))

    def read(self, index: int) -> StoredPair:
        part = bisect_right(self._ends, index)
        index -= self._ends[part] - self.sizes[part]
        shard = self.shards[part]
        table = _current_index(shard, index)
        name, places = f"{shard}/{table.names[index]}", table.places[index].reshape(3, 2)
        if places[0, 0] == ABSENT:
            raise SampleError(name, f"has no photograph; expected one of {LISTED_SUFFIXES}")
        photograph, caption, about = _files(shard, name, places)
        words = _captions(name, _text(name, about)) if places[2, 0] != ABSENT else []
        # Several captions of the JSON are preferred to the text, and the text to one.
        if len(words) < 2 and places[1, 0] != ABSENT:
            if (text := _text(name, caption)).strip():
                words = [text]
            elif clean_captions(words) and not self._json_captions:
                raise SampleError(name, f"its {CAPTION} is empty; json_captions=true takes the caption in {ABOUT}")
        captions = clean_captions(words)
        if not captions:
            raise SampleError(name, f"has no caption; expected one in {CAPTION}, or as `caption` in {ABOUT}")
        return StoredPair(name, photograph, captions)


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SampleError(name, "its caption is not UTF-8") from None


def _files(shard: Path | Streamed, name: str, places: NDArray[np.int64]) -> list[bytes]:
    """The files of a pair by their places [3, 2]; ABSENT ones are empty."""
    files, ranges = list[bytes](), places.clip(0).tolist()
    try:
        with _opened(shard) as content:
            for start, length in ranges:
                content.seek(start)
                files.append(content.read(length))
    except OSError as error:
        raise SampleError(name, f"cannot be read: {error.strerror}") from None
    except DatasetError as error:
        raise SampleError(name, str(error)) from None
    for file, (_, length) in zip(files, ranges, strict=True):
        if len(file) != length:
            raise SampleError(name, f"is cut off: {len(file)} of {length} bytes")
    return files


def _opened(shard: Path | Streamed) -> BinaryIO:
    return shard.open() if isinstance(shard, Streamed) else shard.open("rb")


def index_of(shard: Path | Streamed) -> ShardIndex:
    path = shard if isinstance(shard, Path) else shard.path
    index_file = path.with_name(f"{path.name}.index.npz")
    state = np.array(_state(shard), np.int64)
    try:
        with index_file.open("rb") as content, ONE_AT_A_TIME, np.load(content) as stored:
            if np.array_equal(stored["state"], state):
                names = bytes(stored["names"]).decode(errors="surrogateescape").split("\0")[:-1]
                return ShardIndex(tuple(names), stored["places"], bytes(stored["damage"]).decode())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass  # missing, or incomplete after a kill
    index = _scan(shard)
    if path is shard or not index.damage:  # what was cut off on its way is fetched again
        _write_index(index_file, index, state)
    return index


def _current_index(shard: Path | Streamed, number: int) -> ShardIndex:
    """The index of a shard with that pair. Raises SampleError: since the run began it was removed, or lost the pair."""
    try:
        index = _cached_index(shard, _state(shard))
    except DatasetError as error:
        raise SampleError(str(shard), str(error)) from None
    if number >= len(index.names):
        raise SampleError(str(shard), f"was replaced by one of {len(index.names):,} pairs; expected pair {number:,}")
    return index


@lru_cache(MAX_INDEXES)
def _cached_index(shard: Path | Streamed, state: tuple[int, ...]) -> ShardIndex:
    del state  # of a file that was replaced it is another
    return index_of(shard)


def _state(shard: Path | Streamed) -> tuple[int, ...]:
    """Size and modification time of a tar; empty for one from elsewhere, as the name of its copy tells its version."""
    if isinstance(shard, Streamed):
        return ()
    try:
        status = shard.stat()
    except OSError as error:
        raise DatasetError(f"{shard}: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


def _write_index(path: Path, index: ShardIndex, state: NDArray[np.int64]) -> None:
    """Write atomically; a read-only folder gets no index."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with fresh.open("wb") as target:
            names = _as_array("".join(f"{name}\0" for name in index.names))
            np.savez(target, state=state, places=index.places, names=names, damage=_as_array(index.damage))
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)


def _as_array(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)  # names in a tar may be of any bytes


def _scan(shard: Path | Streamed) -> ShardIndex:
    rows: dict[str, list[int]] = {}
    damage = ""
    try:
        with _opened(shard) as content:
            if content.read(6).startswith(COMPRESSED):
                raise DatasetError(f"{shard} is compressed, which allows no random access; unpack it first")
            content.seek(0)
            for member in files_in(content):
                if (column := _column(member.name)) is not None:
                    folder, slash, last = member.name.rpartition("/")
                    row = rows.setdefault(folder + slash + last.partition(".")[0], [ABSENT] * 6)
                    row[column : column + 2] = member.offset_data, member.size
    except (tarfile.TarError, OSError) as error:
        damage = f"is damaged or cut off after {len(rows):,} pairs: {error}"
    return ShardIndex(tuple(rows), np.array(list(rows.values()), np.int64).reshape(-1, 6), damage)


def _column(name: str) -> int | None:
    """First of the two columns of `ShardIndex.places` for a file; None for a file that is no part of a pair."""
    last = name.rpartition("/")[2]
    if last.startswith("."):
        return None
    suffix = "." + last.partition(".")[2].lower()
    return 0 if suffix in PICTURE_SUFFIXES else {CAPTION: 2, ABOUT: 4}.get(suffix)


def _captions(name: str, about: str) -> list[object]:
    try:
        parsed = json.loads(about)
    except ValueError:
        raise SampleError(name, f"its {ABOUT} is not JSON") from None
    if not isinstance(parsed, dict):
        return []
    several = parsed.get("captions")
    return several if isinstance(several, list) and several else [parsed.get("caption")]
