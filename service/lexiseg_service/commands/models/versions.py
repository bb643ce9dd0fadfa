"""`lexiseg models use` and `lexiseg models back`: the version of a model directory that workers serve as NAME.

Versions lie side by side as NAME@VERSION; NAME is a link to one of them, replaced atomically. Workers that serve NAME
load the new version beside the old one and then swap them, without a restart.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import typer

from lexiseg_model import catalogue
from lexiseg_model.errors import OptionError, UnknownModelError
from lexiseg_model.types import ModelName
from lexiseg_service.settings import Settings


def use(name: str, settings: Settings) -> None:
    """Let NAME be NAME@VERSION.

    Raises:
        OptionError: there is no folder of models, or no version in the name.
        UnknownModelError: there is no such directory.
        WeightsError: it is no model directory, or lacks its weights.
    """
    models_dir = _models_dir(settings)
    version = ModelName.parse(name)
    if version.version is None:
        raise OptionError(f"{name} names no version; expected NAME@VERSION, as tcl@2")
    if not (models_dir / name).is_dir():
        raise UnknownModelError(f"no model directory {models_dir / name}")
    catalogue.require(name, models_dir, settings.text_tower)
    before = _current(models_dir, version.name)
    _link(models_dir, version.name, name)
    if before is not None and before != name:
        _note(models_dir, version.name).write_text(f"{before}\n", encoding="utf-8")
    typer.echo(f"{version.name} is {name}" + (f", and was {before}" if before else ""))


def back(name: str, settings: Settings) -> None:
    """Let NAME be the version before.

    Raises:
        OptionError: no version before is known.
    """
    models_dir = _models_dir(settings)
    note = _note(models_dir, ModelName.parse(name).name)
    if not note.is_file():
        raise OptionError(f"{models_dir / name} was no other version before")
    use(note.read_text(encoding="utf-8").strip(), settings)


def _models_dir(settings: Settings) -> Path:
    if settings.models_dir is None:
        raise OptionError("no folder of models: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    return settings.models_dir


def _note(models_dir: Path, name: str) -> Path:
    """The file that keeps the version before."""
    return models_dir / f".{name}.before"


def _current(models_dir: Path, name: str) -> str | None:
    """The directory that NAME links to; a plain directory is renamed to NAME@VERSION first."""
    place = models_dir / name
    if place.is_symlink():
        return os.readlink(place)
    if not place.exists():
        return None
    full_name = str(ModelName(name, catalogue.read_card(place).version))
    if (models_dir / full_name).exists():
        raise OptionError(f"{place} is a directory, and {full_name} is there as well: remove or rename one of them")
    os.rename(place, models_dir / full_name)
    return full_name


def _link(models_dir: Path, name: str, to: str) -> None:
    fresh = models_dir / f".{name}.{uuid.uuid4().hex}"
    os.symlink(to, fresh)
    os.replace(fresh, models_dir / name)
