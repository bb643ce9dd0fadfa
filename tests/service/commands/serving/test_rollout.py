"""`lexiseg rollout`: shares of a new version, and the way back."""

from pathlib import Path

import pytest

from tests.service.commands.command_line import CommandLine, Outcome


class Shares:
    """The commands, over one file."""

    def __init__(self, lexiseg: CommandLine, folder: Path) -> None:
        self._lexiseg = lexiseg
        self.file = folder / "rollouts.txt"

    def __call__(self, *words: object) -> Outcome:
        return self._lexiseg("rollout", *words, "--file", self.file)


@pytest.fixture
def shares(lexiseg: CommandLine, tmp_path: Path) -> Shares:
    return Shares(lexiseg, tmp_path)


def test_a_share_grows_and_keeps_what_it_is_of(shares: Shares) -> None:
    shares("set", "tcl@2", 5, "--by", "image")

    assert shares("set", "tcl@2", 50).out == "tcl@2 50 image\n"
    assert shares.file.read_text() == "tcl@2 50 image\n"


def test_the_next_version_goes_out_over_the_one_that_everybody_has(shares: Shares) -> None:
    shares("set", "tcl@2", 100)
    shares("set", "tiny@2", 5)

    shares("set", "tcl@3", 5)

    assert shares("show").out == "tcl@3 5 key tcl@2\ntiny@2 5 key\n"


def test_back_gives_the_version_of_before_and_then_the_first_one(shares: Shares) -> None:
    for model, percent in (("tcl@2", 100), ("tcl@3", 5), ("tcl@3", 100)):
        shares("set", model, percent)

    once = shares("back", "tcl")
    after_once = shares.file.read_text()
    twice = shares("back", "tcl")

    assert "get tcl@2; tcl@3 is still there" in once.out
    assert after_once == "tcl@2 100 key\n"
    assert "get the version that workers list first" in twice.out
    assert shares.file.read_text() == ""


def test_two_versions_are_not_tried_at_once(shares: Shares) -> None:
    shares("set", "tcl@2", 5)

    outcome = shares("set", "tcl@3", 5)

    assert outcome.status == 1
    assert "tcl@2, which has 5 % now: give it 0 or 100 first" in outcome.err
    assert shares("show").out == "tcl@2 5 key\n"


def test_what_is_not_there_is_named(lexiseg: CommandLine, shares: Shares, tmp_path: Path) -> None:
    away = lexiseg("rollout", "set", "tcl@2", 5, "--file", tmp_path / "nowhere" / "rollouts.txt")

    assert shares("show").err == f"lexiseg: no rollout in {shares.file}\n"
    assert f"a model with a rollout; {shares.file} has none" in shares("back", "tcl").err
    assert away.status == 1
    assert "nowhere/rollouts.txt: there is no such folder" in away.err
