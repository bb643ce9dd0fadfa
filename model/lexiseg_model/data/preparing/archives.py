"""Archives as they are published; each is unpacked once, and kept inside its folder, whatever its names say."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lexiseg_model.errors import DatasetError

MAX_RATIO = 100  # bytes unpacked for one packed; label maps compress 20 to 50 times, a bomb 1,000 times
SPARE_BYTES = 2**30  # beyond that, so that a small archive of empty masks is taken
MAX_MEMBERS = 5_000_000


class _Budget:
    """What an archive may still unpack to, the archives inside it included."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._bytes = SPARE_BYTES + MAX_RATIO * archive.stat().st_size
        self._members = MAX_MEMBERS

    def take(self, n_bytes: int) -> None:
        """Count one member.

        Raises:
            DatasetError: it is one too many, or too large.
        """
        self._bytes -= n_bytes
        self._members -= 1
        if self._bytes < 0:
            raise DatasetError(f"{self._archive} unpacks to more than {MAX_RATIO} times its size and 1 GiB")
        if self._members < 0:
            raise DatasetError(f"{self._archive} has more than {MAX_MEMBERS:,} members")


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or a zip, and the zips inside it beside themselves.

    Raises:
        DatasetError: it is neither, is damaged, leads out of the folder, or unpacks to far more than its size.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        budget = _Budget(archive)
        if zipfile.is_zipfile(archive):
            _unzip(archive, target, budget)
        else:

            def counted(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
                budget.take(member.size)
                return tarfile.data_filter(member, path)

            with tarfile.open(archive) as content:
                content.extractall(target, filter=counted)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DatasetError(f"{archive} cannot be unpacked: {error}") from None


@dataclass(frozen=True)
class Archive:
    """One file to fetch: the names that it is published under, and where what it holds belongs."""

    names: tuple[str, ...]
    folder: str = ""  # that it is unpacked in
    holds: tuple[str, ...] = ()  # paths in that folder, by which it is known where somebody else unpacked it
    unpack: Callable[[Path, Path], None] = unpack
    needed: bool = True  # else of use to `lexiseg eval` alone

    def packed(self, source: Path) -> Path | None:
        """The file, if it is there."""
        return next((source / name for name in self.names if (source / name).is_file()), None)

    def unpacked(self, source: Path) -> dict[str, Path]:
        """What of it lies unpacked in `source`, by its path in the official layout."""
        places = {
            f"{self.folder}/{path}" if self.folder else path: (source / self.folder / path, source / path)
            for path in self.holds
        }
        return {
            path: place for path, both in places.items() if (place := next(filter(Path.exists, both), None)) is not None
        }

    def there(self, source: Path) -> bool:
        """Whether it is there, packed or unpacked."""
        return self.packed(source) is not None or bool(self.unpacked(source))

    def bring(self, source: Path, target: Path, on_archive: Callable[[str], object]) -> bool:
        """Unpacks it under `target`, or links to what is unpacked in `source`; False if neither is there.

        Raises:
            DatasetError: it is damaged.
        """
        if (archive := self.packed(source)) is not None:
            status = archive.stat()
            state = {"bytes": status.st_size, "mtime": status.st_mtime_ns}
            done = target / self.folder / f".{archive.name}.unpacked"
            if not done.exists() or json.loads(done.read_text()) != state:
                on_archive(archive.name)
                self.unpack(archive, target / self.folder)
                done.write_text(json.dumps(state))
            return True
        unpacked = self.unpacked(source)
        for path, place in unpacked.items():
            link = target / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.unlink(missing_ok=True)  # to what has gone
                link.symlink_to(place.resolve())
        return bool(unpacked)

    def __str__(self) -> str:
        held = f" (holds {', '.join(self.holds)})" if self.holds else ""
        return " or ".join(self.names) + held


def _unzip(archive: Path, target: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            budget.take(entry.file_size)
            path = (target / entry.filename).resolve()
            if not path.is_relative_to(target.resolve()):
                raise DatasetError(f"{archive}: {entry.filename!r} leads out of the folder")
            if entry.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with content.open(entry) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            if path.suffix == ".zip":  # COCO's panoptic PNG files
                _unzip(path, path.parent, budget)
                path.unlink()
