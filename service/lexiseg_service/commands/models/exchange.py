"""Push and pull model directories to and from any fsspec URL.

    URL/NAME/files/SHA256      the content of a file, under its digest: never overwritten
    URL/NAME/manifest.json     the files of the model; written last, atomically

An interrupted push does not affect pulls, and a repeated push sends only missing files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lexiseg_model.catalogue.models import CARD, read_card
from lexiseg_model.catalogue.store import connect_store, is_bucket, write_whole
from lexiseg_model.errors import OptionError, WeightsError

MANIFEST, FILES = "manifest.json", "files"
# Not pushed: state of a training run, and photographs, which may be private.
TRAINING_FILES = {"checkpoint.pt", "plateau.pt", "nonfinite", "laid-out", "samples", "skipped.jsonl"}


class StoredFile(BaseModel):
    """One file of a model directory."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """The files of a model directory, by relative path."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, StoredFile] = Field(min_length=1)

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, StoredFile]) -> dict[str, StoredFile]:
        for name in files:
            path = PurePosixPath(name)
            strange = "\\" in name or "\0" in name or str(path) != name
            if not path.name or path.is_absolute() or ".." in path.parts or strange:
                raise ValueError(f"{name!r} is not a path inside a model directory")
        return files


def push(folder: Path, name: str, url: str, on_file: Callable[[str], object] = lambda _: None) -> Manifest:
    """Copy a model directory to `url/name`; files that the store has are not sent again."""
    read_card(folder)
    manifest = _manifest_of(folder)
    store, root = _open_model(url, name)
    try:
        for place, stored in manifest.files.items():
            blob = f"{root}/{FILES}/{stored.sha256}"
            # The size of an interrupted copy in a folder differs; object stores hold whole objects only.
            if not store.exists(blob) or store.size(blob) != stored.size:
                on_file(place)
                if not is_bucket(store):
                    store.makedirs(f"{root}/{FILES}", exist_ok=True)
                store.put_file(str(folder / place), blob)
        write_whole(store, f"{root}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
    except OSError as error:
        raise OptionError(f"{url} cannot be written to: {error}") from None
    return manifest


def pull(
    url: str,
    name: str,
    models_dir: Path,
    replace: bool,
    on_file: Callable[[str], object] = lambda _: None,
    place: str | None = None,
) -> Path:
    """Copy `url/name` to `models_dir/place` (None: `models_dir/name`), atomically, after all digests were checked.

    A call after an interrupted one resumes.
    """
    store, root = _open_model(url, name)
    place = place or name
    if "\0" in place:
        raise OptionError(f"{place!r} is no name of a folder: it has a NUL character")
    manifest = _read_manifest(store, root)
    target = models_dir / place
    if target.exists():
        if (target / CARD).exists() and _manifest_of(target) == manifest:
            return target
        if not replace:
            raise OptionError(f"{target} exists and holds another model; --replace overwrites it")
    fresh = models_dir / f".{place}.pull"
    for file, stored in manifest.files.items():
        path = fresh / file
        if path.is_file() and _stored_file(path) == stored:
            continue
        on_file(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            store.get_file(f"{root}/{FILES}/{stored.sha256}", str(path))
        except OSError as error:
            raise WeightsError(f"{url}/{name}: {file} cannot be read: {error}") from None
        if (received := _stored_file(path)) != stored:
            path.unlink()
            difference = f"{received.size:,} bytes, sha256 {received.sha256}; expected {stored.size:,}, {stored.sha256}"
            raise WeightsError(f"{url}/{name}: {file} is damaged: {difference}")
    read_card(fresh)
    for path in [path for path in fresh.rglob("*") if path.is_file()]:
        if path.relative_to(fresh).as_posix() not in manifest.files:  # of an interrupted pull of another version
            path.unlink()
    # Replace a directory by another; the old one is removed last.
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    if target.exists():
        os.replace(target, old)
    os.replace(fresh, target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _open_model(url: str, name: str) -> tuple[Any, str]:
    if "\0" in url + name:
        raise OptionError(f"{f'{url}/{name}'!r} is no place of a model: it has a NUL character")
    store, root = connect_store(url)
    return store, f"{root}/{name}"


def _read_manifest(store: Any, root: str) -> Manifest:
    """The manifest of a model in a store. Raises as `pull`."""
    path = f"{root}/{MANIFEST}"
    try:
        return Manifest.model_validate_json(store.cat_file(path))
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; `lexiseg models push` writes it") from None
    except ValidationError as error:
        raise WeightsError(f"{path} is not a model's manifest: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error}") from None


def _manifest_of(folder: Path) -> Manifest:
    """All files but hidden ones and `TRAINING_FILES`."""
    places = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return Manifest(
        files={
            place.as_posix(): _stored_file(path)
            for place, path in places.items()
            if place.parts[0] not in TRAINING_FILES
            and not any(part.startswith(".") or part == "__pycache__" for part in place.parts)
        }
    )


def _stored_file(path: Path) -> StoredFile:
    with path.open("rb") as content:  # without torch, which `weights.file_digest` imports
        return StoredFile(size=path.stat().st_size, sha256=hashlib.file_digest(content, "sha256").hexdigest())
