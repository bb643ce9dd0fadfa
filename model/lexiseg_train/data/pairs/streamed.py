"""Tar shards in an object store, or written by a command.

A shard is fetched whole when a pair of it is first read, into a folder of temporary files that keeps the newest
MAX_SHARDS; a run needs few at a time, as pairs are shuffled within some shards (`training.pairs.TOGETHER`). Indexes
stay: all shards are read once when a run first starts, and later starts resume at an exact position.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from lexiseg_model.catalogue.store import numbered, open_store, protocol_of
from lexiseg_model.errors import DatasetError

MAX_SHARDS = 64  # of a machine
PIPE = "pipe:"


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
        """Path of the local copy, which may not exist."""
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
    """The shards at an address, in the order of their names."""
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
