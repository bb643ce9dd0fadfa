"""What clients may name: folders that the operator allows, and so many pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from lexiseg_model.files.names import as_text
from lexiseg_service.batch.sources.source import Listed, Picture
from lexiseg_service.errors import InvalidValue, NotAllowed
from lexiseg_service.gateway.uploaded_archive import ARCHIVE

FOLDER = "folder"


def numbered(listed: Iterable[Listed], max_pictures: int, field: str) -> list[Picture]:
    """Names and places as pictures."""
    pictures: list[Picture] = []
    for number, each in enumerate(listed):
        if number == max_pictures:
            raise InvalidValue.of(field, f"more than {max_pictures:,} pictures", f"at most {max_pictures:,}")
        pictures.append(Picture(number, as_text(each.name), as_text(each.place)))
    if not pictures:
        of_files = ", of a name that ends like a picture's" if field in (ARCHIVE, FOLDER) else ""
        raise InvalidValue.of(field, "no pictures", f"at least one{of_files}")
    return pictures


def allowed(folder: str, roots: Sequence[str]) -> str:
    """A folder that a client names, if it is one of the roots or below one."""
    address = folder.rstrip("/")
    is_plain = ".." not in PurePosixPath(address).parts and "\0" not in address and "*" not in address
    stripped = [root.rstrip("/") for root in roots]
    if not is_plain or not any(address == root or address.startswith(f"{root}/") for root in stripped):
        raise NotAllowed(f"folder: {folder[:80]!r} is not below a folder that LEXISEG_JOB_FOLDERS names")
    return address
