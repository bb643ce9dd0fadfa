"""Commands of other distributions."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_service.commands import joined
from lexiseg_service.commands.program import LexisegProgram
from lexiseg_service.entry_points import COMMANDS
from lexiseg_service.settings import Settings
from lexiseg_train.commands.program import Program
from tests.service.commands.command_line import CommandLine
from tests.service.distribution import installed
from tests.test_architecture import ROOT

MODULE = """
import typer

app = typer.Typer()


@app.command()
def greet(name: str) -> None:
    print(f"hello {name}")
"""
WITH_PROGRAM = """
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def greet(name: str, program: Annotated[Any, "compare"]) -> None:
    print(f"hello {name} on {program.settings.device}")
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[None]:
    """A distribution with `lexiseg greet` and `lexiseg models greet`."""
    points = dict.fromkeys(("greet", "models.greet"), "greeting:app")
    with installed(tmp_path, "greeting", {"greeting.py": MODULE}, commands=points):
        yield


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("group", [(), ("models",)])
def test_a_command_of_another_distribution_is_run(group: tuple[str, ...], lexiseg: CommandLine) -> None:
    assert lexiseg(*group, "greet", "you").out == "hello you\n"
    assert "greet" in lexiseg(*group, "--help").out


@pytest.mark.usefixtures("site")
def test_a_joined_command_gets_the_settings_that_it_asks_for(lexiseg: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(WITH_PROGRAM)

    assert lexiseg("greet", "you", "--device", "cpu").out == "hello you on cpu\n"
    assert "--http-port" not in lexiseg("greet", "--help").out


def test_the_program_does_what_commands_of_training_ask_for() -> None:
    program: Program = LexisegProgram(Settings())  # mypy compares them

    assert program.model == "tiny"


@pytest.mark.parametrize("command", ["train", "eval", "data", "calibrate", "compare", "models prove"])
def test_a_command_that_is_not_installed_says_how_to_install_it(
    command: str, lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "entry_points_of", lambda group: {})

    outcome = lexiseg(*command.split())

    assert outcome.status == 2
    assert f"`lexiseg {command}` comes with lexiseg-train: pip install lexiseg-train, or make full" in outcome.err


def test_every_command_with_a_home_joins_by_an_entry_point() -> None:
    """Of this checkout: an environment that was installed before it has others."""
    project = tomllib.loads((ROOT / "model/lexiseg_train/pyproject.toml").read_text())["project"]

    assert set(project["entry-points"][COMMANDS]) == set(joined.HOMES)
