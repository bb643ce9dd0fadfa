"""Unpack published archives, within their folder and a bounded size."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
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
