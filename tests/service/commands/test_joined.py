"""Commands of other distributions."""

import re
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
    points = dict.fromkeys(("greet", "models.greet"), "greeting:app") | {"plain": "greeting:greet"}
    with installed(tmp_path, "greeting", {"greeting.py": MODULE}, commands=points):
        yield


PLAIN = """
raise SystemExit("imported")


def greet(name: str) -> None:
    \"\"\"Greet somebody.

    Example:  lexiseg greet you
    \"\"\"
"""


def test_commands_of_entry_points_are_listed_without_being_imported(lexiseg: CommandLine, tmp_path: Path) -> None:
    with installed(tmp_path, "greeting", {"greeting.py": PLAIN}, commands={"greet": "greeting:greet"}):
        listed = lexiseg("--help").out

    assert re.search("greet +Greet somebody.", listed)
    assert re.search("train +Train a model by a recipe", listed)


@pytest.mark.parametrize(
    ("module", "point", "said"),
    [
        ("", "greeting:greet", "`lexiseg greet`: entry point greet = 'greeting:greet' of greeting does not load"),
        (
            "import nowhere",
            "greeting:greet [maps]",
            "`lexiseg greet` needs nowhere, which is not installed: pip install ",
        ),
        ("greet = 1", "greeting:greet", "`lexiseg greet`: expected greeting:greet to be a function or a typer.Typer"),
    ],
    ids=["no such name", "without the library of an extra", "no command"],
)
def test_a_broken_command_is_one_line_that_names_it_and_no_other_command_suffers(
    module: str, point: str, said: str, lexiseg: CommandLine, tmp_path: Path
) -> None:
    with installed(tmp_path, "greeting", {"greeting.py": module}, commands={"greet": point}):
        outcome = lexiseg("greet", "you")
        listed = lexiseg("--help")

    assert outcome.status == 1
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert (listed.status, "video" in listed.out) == (0, True)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("words", [("greet",), ("models", "greet"), ("plain",)])
def test_a_command_of_another_distribution_is_run(words: tuple[str, ...], lexiseg: CommandLine) -> None:
    assert lexiseg(*words, "you").out == "hello you\n"
    assert words[-1] in lexiseg(*words[:-1], "--help").out


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
