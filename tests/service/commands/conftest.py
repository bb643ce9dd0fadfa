from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.manifest import default_cache_dir
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.segmenter import Segmenter
from tests.once import kept
from tests.service.commands.command_line import CommandLine
from tests.text_rows import RememberedRows

read = catalogue.load


@kept
def rows() -> RememberedRows:
    """Of the text tower, for all commands of a folder."""
    return RememberedRows(load_text_tower())


@kept
def bundled(name: str, default: Path, options: tuple[tuple[str, Any], ...]) -> Segmenter:
    """A model that comes with lexiseg, for all commands of a folder; `default` is the user's cache."""
    return read(name, **dict(options))


def load(name: str, **options: Any) -> Segmenter:
    """As the catalogue does it, but for what no command changes: that is read once."""
    theirs = catalogue.find(name, options.get("models_dir")).folder not in catalogue.bundled().values()
    if theirs or options.get("text_tower"):
        return read(name, **options)
    return bundled(name, default_cache_dir(), tuple(sorted(options.items())))


@pytest.fixture(autouse=True)
def model_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command computes with is what it would have read itself: most of its seconds went there."""
    monkeypatch.setattr(catalogue, "load", load)
    monkeypatch.setattr(load_text_tower(), "encode", rows().encode)


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "120")
    return CommandLine(monkeypatch, capsys)
