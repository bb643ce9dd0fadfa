"""Commands of other distributions."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_service.commands import joined
from tests.service.commands.command_line import CommandLine
from tests.test_architecture import ROOT

MODULE = """
import typer

app = typer.Typer()


@app.command()
def greet(name: str) -> None:
    print(f"hello {name}")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with `lexiseg greet` and `lexiseg models greet`."""
    info = tmp_path / "greeting-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lexiseg.commands]\ngreet = greeting:app\nmodels.greet = greeting:app\n")
    (tmp_path / "greeting.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    joined.joined.cache_clear()
    yield
    joined.joined.cache_clear()
    sys.modules.pop("greeting", None)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("group", [(), ("models",)])
def test_a_command_of_another_distribution_is_run(group: tuple[str, ...], lexiseg: CommandLine) -> None:
    assert lexiseg(*group, "greet", "you").out == "hello you\n"
    assert "greet" in lexiseg(*group, "--help").out


@pytest.mark.parametrize("command", ["train", "eval", "data", "calibrate", "compare", "models prove"])
def test_a_command_that_is_not_installed_says_how_to_install_it(
    command: str, lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "entry_points", lambda **_: [])
    joined.joined.cache_clear()

    outcome = lexiseg(*command.split())

    joined.joined.cache_clear()
    assert outcome.status == 2
    assert f"`lexiseg {command}` comes with lexiseg-train: pip install lexiseg-train" in outcome.err


def test_every_command_with_a_home_joins_by_an_entry_point() -> None:
    """Of this checkout: an environment that was installed before it has others."""
    project = tomllib.loads((ROOT / "model/lexiseg_train/pyproject.toml").read_text())["project"]

    assert set(project["entry-points"][joined.ENTRY_POINTS]) == set(joined.HOMES)
