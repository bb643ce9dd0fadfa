"""A killed run resumes bit-identically, and its data workers exit with it."""

import os
import re
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data._utils import worker

from lexiseg_model.errors import ModelError, RecipeError
from lexiseg_train.training.recipe import Phase, is_begun
from tests.processes import fork_server
from tests.train.training.toy import ToyBatch, ToyRecipe, ToyRun, differences, finished, recipe_for

SECONDS = 120  # a hung process must not hang the tests
Moment = tuple[str, int]  # what is about to be done, and for the how many-th time in this process
# In the order in which they come in a run, some of them while files are written.
MOMENTS: list[Moment] = [
    ("loss", 1), ("fsync", 2), ("loss", 8), ("replace", 3), ("rename done", 1), ("fsync", 5), ("loss", 11),
    ("replace", 8),
]  # fmt: skip


def long_recipe(out: Path) -> ToyRecipe:
    """All that is kept is written several times."""
    return recipe_for(
        out, steps=14, decay_steps=5, phases=[Phase(after=0, crop=64, global_batch=8)], micro_batch=4, workers=2,
        checkpoint_steps=3, validate_steps=4, best_by="-error", log_steps=1,
    )  # fmt: skip


def train(out: Path, moment: Moment | None) -> None:
    """A run in a process of its own, which kills itself at a moment."""
    if moment is not None:
        _die_at(*moment)
    ToyRun(long_recipe(out)).train()


def _die_at(what: str, times: int) -> None:
    counted = 0

    def before(done: Callable[..., Any], after: bool = False) -> Callable[..., Any]:
        def counting(*values: Any, **named: Any) -> Any:
            nonlocal counted
            counted += 1
            result = done(*values, **named) if after else None
            if counted == times:
                os.kill(os.getpid(), signal.SIGKILL)
            return result if after else done(*values, **named)

        return counting

    if what == "loss":
        ToyRun._loss = before(ToyRun._loss)  # type: ignore[method-assign]
    elif what == "fsync":
        os.fsync = before(os.fsync)
    else:
        os.replace = before(os.replace, after=what == "rename done")


@pytest.fixture
def forks() -> ForkServerContext:
    return fork_server()


@contextmanager
def running(forks: ForkServerContext, work: Callable[..., None], *values: Any) -> Iterator[Any]:
    process = forks.Process(target=work, args=values)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def exit_code(forks: ForkServerContext, work: Callable[..., None], *values: Any) -> int | None:
    with running(forks, work, *values) as process:
        process.join(SECONDS)
        return process.exitcode  # type: ignore[no-any-return]


def test_a_run_killed_at_several_steps_ends_bit_identical(forks: ForkServerContext, tmp_path: Path) -> None:
    killed, left_alone = tmp_path / "killed", tmp_path / "alone"
    assert exit_code(forks, train, left_alone, None) == 0

    ends = [exit_code(forks, train, killed, moment) for moment in [*MOMENTS, None]]

    assert ends == [-signal.SIGKILL] * len(MOMENTS) + [0]
    assert differences(finished(killed), finished(left_alone)) == []
    for name in ("weights.safetensors", "best.safetensors"):
        assert differences(load_file(killed / name), load_file(left_alone / name)) == []
    assert [path.name for path in killed.glob("*.new")] == []


class Waiting(ToyRun):
    """Stays in its third step until it is told that signals were sent."""

    reached: Event
    sent: Event

    def _loss(self, batch: ToyBatch) -> Any:
        if batch.number == 2:
            self.reached.set()
            assert self.sent.wait(SECONDS)
        return super()._loss(batch)


def wait_in_a_step(out: Path, reached: Event, sent: Event) -> None:
    vars(worker)["MP_STATUS_CHECK_INTERVAL"] = 0.1  # seconds between looks at the parent, else five
    run = Waiting(recipe_for(out, workers=2))
    run.reached, run.sent = reached, sent
    run.train()


def test_data_workers_exit_when_their_run_is_killed(forks: ForkServerContext, tmp_path: Path) -> None:
    reached = forks.Event()
    with running(forks, wait_in_a_step, tmp_path, reached, forks.Event()) as process:
        assert reached.wait(SECONDS)
        ends = [os.pidfd_open(child.pid) for child in psutil.Process(process.pid).children()]

        process.kill()

        assert len(ends) == 2
        for end in ends:
            ended, _, _ = select.select([end], [], [], SECONDS)
            os.close(end)
            assert ended


class Failing(ToyRun):
    def _loss(self, batch: ToyBatch) -> Any:
        raise ArithmeticError(len(psutil.Process().children()))


def test_data_workers_exit_when_a_step_fails(tmp_path: Path) -> None:
    before = psutil.Process().children()

    with pytest.raises(ArithmeticError) as failure:
        Failing(recipe_for(tmp_path, workers=1)).train()

    assert psutil.Process().children() == before
    assert failure.value.args == (len(before) + 1,)


def test_a_signal_to_the_process_group_saves_a_checkpoint(forks: ForkServerContext, tmp_path: Path) -> None:
    """As a terminal's Ctrl-C and a machine that shuts down send it."""
    reached, sent = forks.Event(), forks.Event()
    with running(forks, wait_in_a_step, tmp_path, reached, sent) as process:
        assert reached.wait(SECONDS)
        for each in [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]:
            each.send_signal(signal.SIGTERM)
        sent.set()
        process.join(SECONDS)

        assert process.exitcode == 0
    assert finished(tmp_path)["step"] == 3


class Stopped(ToyRun):
    """Ends at its eighth batch, as by Ctrl-C or another signal."""

    by = signal.SIGINT

    def _loss(self, batch: ToyBatch) -> Tensor:
        if batch.number == 7:
            signal.raise_signal(self.by)
        return super()._loss(batch)


def stopped(out: Path, by: signal.Signals = signal.SIGINT, **values: Any) -> str:
    run = Stopped(recipe_for(out, **values))
    run.by, handler = by, signal.getsignal(by)
    assert run.train() is None
    assert signal.getsignal(by) == handler
    return run.ending


def told(capsys: pytest.CaptureFixture[str], out: Path, **values: Any) -> tuple[list[int], str]:
    """Which batches a run saw that went on, and its first line without the time that it took."""
    capsys.readouterr()
    run = ToyRun(recipe_for(out, **values))
    run.train()
    return run.seen, re.sub(r", [\d.]+ minutes", "", capsys.readouterr().out.splitlines()[0])


@pytest.mark.parametrize(
    ("by", "run", "plateau", "seen", "line"),
    [
        (signal.SIGTERM, {}, True, [8, 9], "resumed at step 8"),
        (
            signal.SIGINT, {"steps": 12}, True, [5, 6, 7, 8, 9, 10, 11],
            "resumed at step 5 (plateau.pt), not at step 8: steps was 10, is 12, and the learning rate decayed from "
            "there; 3 steps are trained again",
        ),
        (
            signal.SIGINT, {"steps": 12}, False, [8, 9, 10, 11],
            "resumed at step 8: steps was 10, is 12; without plateau.pt the learning rate jumps here",
        ),
    ],
)  # fmt: skip
def test_a_resumed_run_prints_where_it_goes_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    by: signal.Signals,
    run: dict[str, int],
    plateau: bool,
    seen: list[int],
    line: str,
) -> None:
    assert stopped(tmp_path, by, decay_steps=5) == f"{by.name} at step 8; start it again to resume"
    if not plateau:
        (tmp_path / "plateau.pt").unlink()

    assert told(capsys, tmp_path, decay_steps=5, **run) == (seen, line)


def half(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])


def of_other_weights(checkpoint: Path) -> None:
    torch.save({"first.weight": torch.zeros(2)}, checkpoint)


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (half, "checkpoint.pt is not a torch file of plain tensors: damaged, cut short, or of another kind"),
        (of_other_weights, "checkpoint.pt is not the checkpoint of a training: it has no recipe; choose another out="),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, spoilt: Callable[[Path], None], says: str) -> None:
    stopped(tmp_path)
    spoilt(tmp_path / "checkpoint.pt")

    with pytest.raises(ModelError, match=says):
        ToyRun(recipe_for(tmp_path)).train()


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
