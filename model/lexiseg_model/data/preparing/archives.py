"""Published archives: each is unpacked once, within its folder."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lexiseg_model.errors import DatasetError

MAX_RATIO = 100  # unpacked bytes for a packed one; label maps compress 20 to 50 times, a zip bomb 1,000 times
SPARE_BYTES = 2**30  # beyond that, for small archives of empty masks


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or a zip, and the zips inside it beside themselves.

    Raises:
        DatasetError: it is neither, is damaged, leads out of the folder, or unpacks to far more than its size.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        budget = SPARE_BYTES + MAX_RATIO * archive.stat().st_size
        if zipfile.is_zipfile(archive):
            _unzip(archive, target, budget)
        else:
            with tarfile.open(archive) as content:
                if sum(member.size for member in content) > budget:
                    raise DatasetError(f"{archive} unpacks to more than {MAX_RATIO} times its size and 1 GiB")
                content.extractall(target, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DatasetError(f"{archive} cannot be unpacked: {error}") from None


def _unzip(archive: Path, target: Path, budget: int) -> None:
    with zipfile.ZipFile(archive) as content:
        budget -= sum(entry.file_size for entry in content.infolist())
        if budget < 0:
            raise DatasetError(f"{archive} unpacks to more than {MAX_RATIO} times its size and 1 GiB")
        for entry in content.infolist():
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


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        names: that it is published under.
        folder: that it is unpacked in.
        holds: paths in that folder, to recognise it where it was unpacked before.
        unpack: unpacks it.
        needed: else it is only useful to `lexiseg eval`.
    """

    names: tuple[str, ...]
    folder: str = ""
    holds: tuple[str, ...] = ()
    unpack: Callable[[Path, Path], None] = unpack
    needed: bool = True

    def packed(self, source: Path) -> Path | None:
        """The file, if it exists."""
        return next((source / name for name in self.names if (source / name).is_file()), None)

    def unpacked(self, source: Path) -> dict[str, Path]:
        """Its unpacked parts in `source`, by path in the official layout."""
        places = {
            f"{self.folder}/{path}" if self.folder else path: (source / self.folder / path, source / path)
            for path in self.holds
        }
        return {
            path: place for path, both in places.items() if (place := next(filter(Path.exists, both), None)) is not None
        }

    def exists(self, source: Path) -> bool:
        """Whether it is in `source`, packed or unpacked."""
        return self.packed(source) is not None or bool(self.unpacked(source))

    def bring(self, source: Path, target: Path, on_archive: Callable[[str], object]) -> bool:
        """Unpack it under `target`, or link to its unpacked parts; False if it is missing.

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
                link.unlink(missing_ok=True)  # a dangling link
                link.symlink_to(place.resolve())
        return bool(unpacked)

    def __str__(self) -> str:
        held = f" (holds {', '.join(self.holds)})" if self.holds else ""
        return " or ".join(self.names) + held
