"""Unpacks archives once; what one holds is kept inside its folder, whatever its names say."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

from lexiseg_model.errors import DatasetError


def unpack(archive: Path, target: Path) -> bool:
    """Unpacks a tar or a zip, and the zips inside it beside themselves; False if that was done before.

    Raises:
        DatasetError: it is neither, is damaged, or leads out of the folder.
    """
    status = archive.stat()
    state = {"bytes": status.st_size, "mtime": status.st_mtime_ns}
    done = target / f".{archive.name}.unpacked"
    if done.exists() and json.loads(done.read_text()) == state:
        return False
    target.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, target)
        else:
            with tarfile.open(archive) as content:
                content.extractall(target, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DatasetError(f"{archive} cannot be unpacked: {error}") from None
    done.write_text(json.dumps(state))
    return True


def _unzip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as content:
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
                _unzip(path, path.parent)
                path.unlink()
