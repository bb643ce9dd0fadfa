from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from tests import once

PROCESSES = 4


def ask(folder: Path, made: Path) -> None:
    """A process of the tests: adds a line to `made` if it is the one that makes what all want."""

    def make(path: Path) -> None:
        with made.open("a") as lines:
            lines.write("made\n")
        path.write_text("content")

    with once.opened(folder):
        assert once.made("thing", make).read_text() == "content"


def test_what_several_processes_want_at_once_is_made_once(tmp_path: Path) -> None:
    with once.opened(tmp_path / "once"):
        context = multiprocessing.get_context("fork")
        asking = [context.Process(target=ask, args=(tmp_path / "once", tmp_path / "made")) for _ in range(PROCESSES)]
        for process in asking:
            process.start()
        for process in asking:
            process.join(60)

    assert [process.exitcode for process in asking] == [0] * PROCESSES
    assert (tmp_path / "made").read_text() == "made\n"


def test_what_was_not_finished_is_made_again(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space")

    with once.opened(tmp_path / "once"):
        with pytest.raises(OSError, match="no space"):
            once.made("thing", fail)
        assert once.made("thing", lambda path: path.write_text("whole")).read_text() == "whole"


def test_who_leaves_last_removes_everything(tmp_path: Path) -> None:
    with once.opened(tmp_path / "once"):
        with once.opened(tmp_path / "once"):
            path = once.made("thing", Path.touch)
        assert path.exists()

    assert list(tmp_path.iterdir()) == []
