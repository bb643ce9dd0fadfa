"""From where a run goes on, and what it says of it in one line."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.model.training.toy import ToyBatch, ToyRun, recipe_for


class Stopped(ToyRun):
    """Ends at its eighth batch, as by Ctrl-C."""

    def _loss(self, batch: ToyBatch) -> Tensor:
        if batch.number == 7:
            signal.raise_signal(signal.SIGINT)
        return super()._loss(batch)


def stopped(out: Path, **values: Any) -> str:
    run = Stopped(recipe_for(out, **values))
    run.train()
    return run.ending


def told(capsys: pytest.CaptureFixture[str], out: Path, **values: Any) -> tuple[list[int], str]:
    """Which batches a run saw that went on, and its first line."""
    capsys.readouterr()
    run = ToyRun(recipe_for(out, **values))
    run.train()
    return run.seen, capsys.readouterr().out.splitlines()[0]


def test_a_run_that_goes_on_as_it_was_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(tmp_path) == "SIGINT at step 8; start it again to go on"

    assert told(capsys, tmp_path) == ([8, 9], "resumed at step 8, 0.0 minutes")


def test_another_length_before_the_rate_falls_changes_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path)

    seen, line = told(capsys, tmp_path, steps=12)

    assert (seen, line) == ([8, 9, 10, 11], "resumed at step 8, 0.0 minutes: steps was 10, is 12")


def test_another_length_while_the_rate_falls_says_from_where_it_falls_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path, decay_steps=5)

    seen, line = told(capsys, tmp_path, steps=12, decay_steps=5)

    assert seen == list(range(5, 12))
    assert line == (
        "resumed at step 5, 0.0 minutes (plateau.pt), not at step 8: steps was 10, is 12, and the learning rate fell "
        "from there on; 3 steps are trained again"
    )


def test_other_minutes_of_a_rate_that_fell_from_the_start_begin_the_run_anew_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path, steps=None, minutes=500, decay_share=1)

    class Short(ToyRun):
        def _loss(self, batch: ToyBatch) -> Tensor:
            signal.raise_signal(signal.SIGTERM)
            return super()._loss(batch)

    capsys.readouterr()
    run = Short(recipe_for(tmp_path, steps=None, minutes=1200, decay_share=1))
    run.train()

    assert run.seen == [0]
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("resumed at step 0, 0.0 minutes (plateau.pt), not at step 8: minutes was 500, is 1,200, and")
    assert line.endswith("8 steps are trained again")


def test_without_the_plateau_it_goes_on_and_says_that_the_rate_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path, decay_steps=5)
    (tmp_path / "plateau.pt").unlink()

    seen, line = told(capsys, tmp_path, steps=12, decay_steps=5)

    assert seen == [8, 9, 10, 11]
    assert line.endswith("steps was 10, is 12; without plateau.pt it goes on from here at another rate")


def test_a_run_that_is_done_says_that_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ToyRun(recipe_for(tmp_path)).train()

    assert told(capsys, tmp_path) == ([], "resumed at step 10, 0.0 minutes: nothing is left to train")
