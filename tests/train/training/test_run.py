"""The training loop shared by all methods: learning, logging, validation, signals, errors."""

import json
import stat
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lexiseg_model.errors import RecipeError, TrainingError
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import BEST, NONFINITE
from lexiseg_train.training.stream import Stream, loader
from tests.train.training.toy import ToyBatch, ToyRun, differences, finished, recipe_for


def trained(out: Path, **values: Any) -> ToyRun:
    run = ToyRun(recipe_for(out, **values))
    run.train()
    return run


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_run_learns_in_half_precision(tmp_path: Path, precision: str) -> None:
    run = trained(tmp_path, steps=60, precision=precision)

    assert run.learner.scaler.is_enabled() == (precision == "float16")
    assert all(value.dtype == torch.float32 for value in run.network.parameters())
    assert all(value.isfinite().all() for value in run.average.values())
    assert not torch.equal(run.network.first.weight, ToyRun(recipe_for(tmp_path)).network.first.weight)


def test_a_single_process_is_not_sharded(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"sharding=full needs several processes, .* got one"):
        trained(tmp_path, sharding="full")


@pytest.mark.parametrize(("micro_batch", "says"), [(2, "batch norms see one of 2 parts of a step at a time"), (4, "")])
def test_a_run_says_at_its_start_that_batch_norms_see_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], micro_batch: int, says: str
) -> None:
    trained(tmp_path, steps=1, micro_batch=micro_batch)

    printed = capsys.readouterr().out
    assert says in printed
    assert ("batch norms" in printed) == bool(says)


def test_accumulation_averages_gradients(tmp_path: Path) -> None:
    """Two batches of one each say what each says by itself, divided by two."""
    run = ToyRun(recipe_for(tmp_path, largest_gradient=None, weight_decay=0))
    run.network.eval()
    run._mode = lambda: None  # type: ignore[method-assign]  # neither dropout nor batch statistics
    batches = [run._batches(LocalPhase(64, 4))[number] for number in range(2)]
    expected = []
    for batch in batches:
        run.network.zero_grad()
        run._loss(batch).backward()  # type: ignore[no-untyped-call]
        expected.append(run.network.second.weight.grad)

    run._step(*batches)

    assert run.network.second.weight.grad is not None
    torch.testing.assert_close(run.network.second.weight.grad, torch.stack(expected).mean(0))  # type: ignore[arg-type]


def test_written_files_are_world_readable_and_no_partial_file_stays(tmp_path: Path) -> None:
    trained(tmp_path, steps=4, decay_steps=2, validate_steps=2, best_by="-error")

    written = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()}

    names = {"checkpoint.pt", "plateau.pt", "weights.safetensors", "best.safetensors", "recipe.yaml", "journal.jsonl"}
    assert set(written) == names
    assert all(mode & 0o444 == 0o444 for mode in written.values())


def test_progress_starts_with_the_first_step_and_shows_pace_and_time_left(tmp_path: Path) -> None:
    trained(tmp_path, steps=100, log_steps=50)

    first, second, last = lines(tmp_path)

    assert [first["step"], second["step"], last["step"]] == [1, 50, 100]
    assert first["examples_per_second"] > 0
    assert first["minutes_left"] >= 0
    assert last["minutes_left"] == 0


def test_log_lines_of_repeated_steps_are_written_once(tmp_path: Path) -> None:
    trained(tmp_path, steps=4, log_steps=1)
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps({"step": 5}) + "\n" + '{"step": 6, "lo')

    trained(tmp_path, steps=6, log_steps=1)

    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_the_best_weights_are_kept_beside_the_last(tmp_path: Path) -> None:
    run = trained(tmp_path, steps=12, validate_steps=3, best_by="-error", learning_rate=0.3)

    told = [line for line in lines(tmp_path) if line.get("validation")]
    best = min(told[1:], key=lambda line: line["error"])
    assert [line["step"] for line in told] == [0, 3, 6, 9, 12]
    assert run.best is not None
    assert run.best.step == best["step"] == told[-1]["best_step"]
    kept, last = load_file(tmp_path / BEST), load_file(tmp_path / "weights.safetensors")
    assert torch.equal(kept["scale"], last["scale"]) == (best["step"] == 12)


def test_validation_uses_averaged_weights_and_does_not_change_the_run(tmp_path: Path) -> None:
    class Watched(ToyRun):
        def _validate(self) -> dict[str, float]:
            torch.rand(3)
            assert not self.network.training
            assert torch.equal(self.network.first.weight, self.average["first.weight"])
            return super()._validate()

    trained(tmp_path / "without")
    run = Watched(recipe_for(tmp_path / "with", validate_steps=2))
    run.train()

    assert differences(finished(tmp_path / "without"), finished(tmp_path / "with")) == []


class Spoilt(ToyRun):
    """Some batches have no finite loss."""

    bad: tuple[int, ...] = (3,)

    def _loss(self, batch: ToyBatch) -> Tensor:
        if batch.number in self.bad:
            batch = batch._replace(inputs=batch.inputs * float("nan"))
        return super()._loss(batch)


def test_a_step_with_a_nonfinite_loss_is_skipped_and_recorded(tmp_path: Path) -> None:
    run = Spoilt(recipe_for(tmp_path, steps=4))

    run.train()

    before = torch.load(tmp_path / NONFINITE / "before-3.pt", weights_only=True)
    assert differences(before["network"], dict(run.network.state_dict())) == []
    assert differences(before["optimizer"], run.learner.optimizer.state_dict()) == []
    assert (run.step, run.nonfinite) == (4, 1)
    [batch] = torch.load(tmp_path / NONFINITE / "step-3-rank-0.pt", weights_only=False)
    assert batch.number == 3


def test_too_many_nonfinite_steps_in_a_row_end_a_run(tmp_path: Path) -> None:
    run = Spoilt(recipe_for(tmp_path, nonfinite_limit=3))
    run.bad = tuple(range(4, 10))

    with pytest.raises(TrainingError, match=r"3 steps in a row up to step 6 had no finite loss"):
        run.train()

    assert len(list((tmp_path / NONFINITE).glob("step-*"))) == 3


@dataclass(frozen=True)
class Numbers(Stream[int]):
    """Their workers tell OpenCV to use one thread, as those of photographs do."""

    seed: int = 0

    def make(self, number: int, random: np.random.Generator) -> int:
        cv2.setNumThreads(1)
        return number


def test_a_data_worker_starts_after_opencv_used_threads_in_this_process() -> None:
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((3000, 4000, 3), np.uint8), (2000, 1500), interpolation=cv2.INTER_AREA)

    assert next(iter(loader(Numbers(), 1, count()))) == 0
