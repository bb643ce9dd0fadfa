"""Pack folders as the official archives are packed."""

import tarfile
import zipfile
from pathlib import Path


def tar(folder: Path, archive: Path) -> None:
    """With gzip where the name says so."""
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as content:
        for path in sorted(folder.iterdir()):
            content.add(path, path.name)


def pack_zip(folder: Path, archive: Path, above: str = "") -> None:
    """`above` stands before every name in the archive."""
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as content:
        for path in sorted(folder.rglob("*")):
            content.write(path, f"{above}{path.relative_to(folder).as_posix()}")
