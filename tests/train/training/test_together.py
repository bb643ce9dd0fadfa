"""Distributed training: the same gradients as one process, and restarts by torchrun."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.processes import fork_server, run_as_by_torchrun
from tests.train.training.together import CHANGED, USUAL, gradients, work
from tests.train.training.toy import ToyRun, differences, finished, recipe_for

ROUNDING = 5e-6  # of float32; a step is as large as the learning rate, whatever the gradient


def torchrun(what: str, out: Path, restarts: int) -> None:
    """What `torchrun` calls, with two processes of the fork server, where torch is imported already."""
    fork_server()
    config = LaunchConfig(
        *(1, 1, 2), run_id="tests", rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1",
        max_restarts=restarts, start_method="forkserver",
    )  # fmt: skip
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}
    try:
        elastic_launch(config, work)(what, out)
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind, of a run that nobody killed and of others."""
    out = tmp_path_factory.mktemp("together")
    run_as_by_torchrun(2, work, ",".join(["left-alone", *CHANGED, "accumulated"]), out)
    return out


def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


def skipped(folder: Path) -> list[str]:
    return [json.loads(line)["name"] for line in (folder / "skipped.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGED)
def test_a_run_resumes_with_and_without_sharding(together: Path, what: str) -> None:
    ours, expected = finished(together / what), finished(together / "left-alone")

    for part in ("network", "average"):
        torch.testing.assert_close(ours[part], expected[part], rtol=0, atol=ROUNDING)
    assert ours["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    torch.testing.assert_close(ours["optimizer"]["state"], expected["optimizer"]["state"], rtol=0, atol=ROUNDING)


@pytest.mark.slow
def test_two_sharded_processes_keep_half_each(together: Path) -> None:
    (first, second), whole = ranks(together / "sharded-later"), ranks(together / "sharded-first")[0]["elements"]

    assert first["elements"] + second["elements"] < 1.15 * whole  # the statistics of norms are in both
    assert max(first["elements"], second["elements"]) < 0.65 * whole  # and weights of one row are not divided


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGED)
def test_each_process_validates_what_it_has_itself(together: Path, what: str) -> None:
    lines = map(json.loads, (together / what / "journal.jsonl").read_text().splitlines())

    assert {line["gathered"] for line in lines if "validation" in line} == {1}


@pytest.mark.slow
def test_accumulated_gradients_are_averaged_and_unused_parameters_have_none(together: Path, tmp_path: Path) -> None:
    alone = gradients(tmp_path)

    for rank in ranks(together / "accumulated"):
        torch.testing.assert_close(rank["gradients"], alone)
    assert [len(found) for found in alone] == [8, 6]


@pytest.mark.slow
def test_a_run_with_a_killed_process_restarts_and_ends_bit_identical(together: Path, tmp_path: Path) -> None:
    torchrun("killed", tmp_path, restarts=2)

    assert (tmp_path / "killed" / "killed").exists()
    assert [rank["seen"] for rank in ranks(tmp_path / "killed")] == [[8, 10, 12, 14, 16], [9, 11, 13, 15, 17]]
    assert differences(finished(tmp_path / "killed"), finished(together / "left-alone")) == []

    assert skipped(tmp_path / "killed") == skipped(together / "left-alone")


@pytest.mark.slow
@pytest.mark.parametrize(("micro_batch", "seen"), [(None, [9, 10]), (2, [18, 19, 20, 21])])
def test_one_process_resumes_a_run_of_two_processes(
    together: Path, tmp_path: Path, micro_batch: int | None, seen: list[int]
) -> None:
    shutil.copytree(together / "left-alone", tmp_path / "before")

    run = ToyRun(recipe_for(tmp_path / "before", steps=11, micro_batch=micro_batch, epsilon=USUAL["epsilon"]))
    run.train()

    assert run.seen == seen
    assert run.crops_seen == 11 * 4
