from pathlib import Path

import pytest
from typer.testing import CliRunner

from lexiseg_service import cli
from lexiseg_service.cli import app
from tests.command import run
from tests.pictures import file
from tests.service.commands.command_line import CommandLine

COMMANDS = ["serve", "gateway", "worker", "segment", "train", "export", "eval", "models list"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_begins_with_the_command(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])

    assert shown.exit_code == 0
    assert "Example" in shown.output
    assert f"lexiseg {command}" in shown.output


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output

    assert [command for command in COMMANDS if f"  {command.split()[0]} " not in shown] == []


def test_a_misspelt_command_is_told_what_may_be_meant() -> None:
    assert "No such command 'modles'. Did you mean 'models'" in CliRunner().invoke(app, ["modles"]).output


@pytest.mark.parametrize("filename", [None, "state/vocabularies"])
def test_what_the_system_refuses_is_one_line_with_the_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], filename: str | None
) -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device", filename)

    monkeypatch.setattr(cli, "app", refuse)

    outcome = CommandLine(monkeypatch, capsys)("serve")

    named = "state/vocabularies: " if filename else ""
    assert (outcome.status, outcome.err) == (1, f"lexiseg: {named}No space left on device\n")


def test_words_of_other_letters_stay_in_a_locale_of_ascii(tmp_path: Path) -> None:
    (tmp_path / "Bäume.jpg").write_bytes(file("china.jpg"))

    outcome = run("segment", str(tmp_path / "Bäume.jpg"), "-c", "Bäume", "-c", "Bäume", LC_ALL="C", PYTHONUTF8="0")

    assert outcome.stderr.strip().endswith("got 'Bäume'")


def test_shells_complete_commands() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output
    for name in ("calibrate", "compare", "data", "models prove", "train"):
        assert "--install-completion" not in CliRunner().invoke(app, [*name.split(), "--help"]).output
    completed = CliRunner().invoke(
        app,
        [],
        env={"_LEXISEG_COMPLETE": "complete_bash", "COMP_WORDS": "lexiseg se", "COMP_CWORD": "1"},
        prog_name="lexiseg",
    )
    assert completed.output.split() == ["serve", "segment", "segment-scene"]
