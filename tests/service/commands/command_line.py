"""`lexiseg ...` in this process, as the shell sees it."""

import json
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from lexiseg_labels.formats import coco
from lexiseg_service import cli
from tests import once
from tests.service.gateway.heads.labelled import labelme

TYPED = cli.app


@cache
def app() -> Any:
    """Commands and options as they are read from the functions: once for many command lines."""
    return typer.main.get_command(TYPED)


class Outcome(NamedTuple):
    """Exit status, and what was printed where."""

    status: int
    out: str
    err: str


class CommandLine:
    """Runs commands through the real entry point."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Outcome:
        if cli.app is TYPED:  # else a test has put another in its place
            self._monkeypatch.setattr(cli, "app", app())
        self._monkeypatch.setattr(sys, "argv", ["lexiseg", *map(str, words)])
        self._capsys.readouterr()
        try:
            cli.main()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        else:
            status = 0
        return Outcome(status, *self._capsys.readouterr())


def taught(lexiseg: CommandLine, here: Path) -> tuple[object, ...]:
    """Options of a state directory with the head `gadgets`, which `here/set` teaches: once for a run of the tests."""

    def teach(state: Path) -> None:
        outcome = lexiseg("teach", here / "set", "--name", "gadgets", "--state-dir", state)
        assert outcome.status == 0, outcome.err

    if not (here / "set").exists():
        labelme(here / "set")
    shutil.copytree(once.made("gadgets", teach), here / "state")
    return "--state-dir", here / "state"


def written(out: Path, name: str = coco.ANNOTATIONS) -> dict[str, Any]:
    """What a command has left in a file of its folder."""
    content: dict[str, Any] = json.loads((out / name).read_text())
    return content
