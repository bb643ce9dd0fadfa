"""Distributed training: the same gradients as one process, and restarts by torchrun."""

import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.command import ended
from tests.processes import run_as_by_torchrun
from tests.train.training.shared_runs import METHODS, STEPS, learned
from tests.train.training.together import CHANGED, SHARDED, USUAL, gradients, work
from tests.train.training.toy import ToyRun, differences, finished, recipe_for

SECONDS = 240  # a hung collective must not hang the tests
# Of a step's whole gradient. The first differs by rounding alone, later ones more: S-Seg's masks are cut at a
# threshold, to whose other side rounding takes a pixel now and then. Norms that were not shared are off by tenths from
# the first on.
FIRST, LATER = 5e-3, 8e-2
ROUNDING = 5e-6  # of float32; a step is as large as the learning rate, whatever the gradient
SHARDED_ROUNDING = 1e-6  # root mean square of all weights
JOURNAL = 1e-2  # relative, by rounding as above; a pair that is contrasted with its own copy is off by a tenth
TIMES = ("minutes", "examples_per_second", "minutes_left")
WEIGHTS = {"tcl": 3e-4, "s-seg": 1.5e-3}
ROOT = Path(__file__).parents[3]


def torchrun(what: str, out: Path, restarts: int) -> None:
    """Both processes on this machine alone."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", "2", "--max-restarts", str(restarts), "-m", "tests.train.training.together"]
    paths = [str(ROOT), *(str(ROOT / name) for name in ("model", "service", "clients/python"))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    answer = ended([*command, what, str(out)], env=environment, timeout=SECONDS)
    assert answer.returncode == 0, answer.stderr[-4000:]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind, of each method and of a run that nobody killed."""
    out = tmp_path_factory.mktemp("together")
    sharded = [SHARDED + method for method in METHODS]
    run_as_by_torchrun(2, work, ",".join([*METHODS, *sharded, "left-alone", *CHANGED, "accumulated"]), out)
    return out


def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


def skipped(folder: Path) -> list[str]:
    return [json.loads(line)["name"] for line in (folder / "skipped.jsonl").read_text().splitlines()]


def journal(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's journal without its times."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def near(name: str, ours: Tensor, expected: Tensor, tolerance: float) -> None:
    distance = (ours - expected).abs().max().item()
    assert distance <= tolerance, f"{name} is off by {distance}, of {expected.abs().max().item()}"


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_get_the_gradients_of_one_for_the_same_global_batch(
    together: Path, method: str, tmp_path: Path
) -> None:
    alone = learned(method, tmp_path)

    first, second = ranks(together / method)

    for step in range(STEPS):
        ours, expected = first["gradients"][step], alone.gradients[step]
        assert ours.keys() == expected.keys()
        off = {name: (ours[name] - gradient).norm().item() for name, gradient in expected.items()}
        length = math.hypot(*(gradient.norm().item() for gradient in expected.values()))
        assert math.hypot(*off.values()) <= (LATER if step else FIRST) * length, (
            f"step {step}: {max(off, key=lambda name: off[name])}"
        )
    moved = 0.0
    for name, value in alone.network.state_dict().items():
        near(name, first["network"][name], value, WEIGHTS[method])
        moved = max(moved, (alone.average[name] - value).abs().max().item() if value.is_floating_point() else 0)
    assert moved > 5e-4  # the comparison is of weights that learned
    assert differences(first["network"], second["network"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_write_the_journal_of_one(together: Path, method: str, tmp_path: Path) -> None:
    learned(method, tmp_path)

    for ours, expected in zip(journal(together / method), journal(tmp_path), strict=True):
        assert ours == pytest.approx(expected, rel=JOURNAL), f"step {ours['step']}"


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_sharded_processes_keep_half_each_and_learn_the_same(together: Path, method: str) -> None:
    whole, sharded = ranks(together / method)[0], ranks(together / f"{SHARDED}{method}")

    assert sharded[0]["network"].keys() == whole["network"].keys()
    off = torch.cat([(sharded[0]["network"][name] - value).flatten() for name, value in whole["network"].items()])
    assert off.square().mean().sqrt() <= SHARDED_ROUNDING
    assert off.abs().max() <= ROUNDING
    assert all(rank["elements"] < 0.52 * whole["elements"] for rank in sharded)


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGED)
def test_a_run_resumes_with_and_without_sharding(together: Path, what: str) -> None:
    ours, expected = finished(together / what), finished(together / "left-alone")

    for part in ("network", "average"):
        torch.testing.assert_close(ours[part], expected[part], rtol=0, atol=ROUNDING)
    assert ours["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    torch.testing.assert_close(ours["optimizer"]["state"], expected["optimizer"]["state"], rtol=0, atol=ROUNDING)


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
