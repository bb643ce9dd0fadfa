"""The checkpoint that a run resumes from, what it prints, and recipes it refuses."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import Tensor

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import Phase, is_begun
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
    """Which batches a run saw that went on, and its first line without the time that it took."""
    capsys.readouterr()
    run = ToyRun(recipe_for(out, **values))
    run.train()
    return run.seen, re.sub(r", [\d.]+ minutes", "", capsys.readouterr().out.splitlines()[0])


def test_a_resumed_run_prints_its_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(tmp_path) == "SIGINT at step 8; start it again to resume"

    assert told(capsys, tmp_path) == ([8, 9], "resumed at step 8")


def test_another_length_during_decay_prints_where_the_decay_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path, decay_steps=5)

    seen, line = told(capsys, tmp_path, steps=12, decay_steps=5)

    assert seen == list(range(5, 12))
    assert line == (
        "resumed at step 5 (plateau.pt), not at step 8: steps was 10, is 12, and the learning rate "
        "decayed from there; 3 steps are trained again"
    )


def test_without_the_plateau_checkpoint_the_run_resumes_and_prints_the_changed_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path, decay_steps=5)
    (tmp_path / "plateau.pt").unlink()

    seen, line = told(capsys, tmp_path, steps=12, decay_steps=5)

    assert seen == [8, 9, 10, 11]
    assert line.endswith("steps was 10, is 12; without plateau.pt the learning rate jumps here")


def begun(out: Path, **values: Any) -> None:
    """What a run leaves beside its weights."""
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe_for(out, **values).model_dump(mode="json")))
    (out / "checkpoint.pt").touch()


def test_a_changed_recipe_value_is_named_by_its_key(tmp_path: Path) -> None:
    phases = [Phase(after=0, crop=64, global_batch=4), Phase(after=0.5, crop=96, global_batch=4)]
    begun(tmp_path, phases=phases, rate_factors={"first": 0.1, "head": 2.0})
    phases[1] = phases[1].model_copy(update={"global_batch": 8})

    with pytest.raises(RecipeError) as raised:
        is_begun(recipe_for(tmp_path, phases=phases, rate_factors={"first": 0.1}, learning_rate=0.5))

    assert str(raised.value) == (
        f"{tmp_path} was made by another recipe: phases.1.global_batch was 4, is 8; learning_rate was 0.01, is 0.5; "
        f"rate_factors.head was 2.0, is None. Continue with its own recipe, `lexiseg train {tmp_path}/recipe.yaml`, "
        "or train into another folder with out=FOLDER"
    )
