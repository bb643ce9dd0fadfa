"""The work of one distributed process."""

import os
import signal
from pathlib import Path

import torch
from torch import Tensor, nn

from lexiseg_train.data.pairs.source import Skipped
from lexiseg_train.training.distributed import gather, own_shard
from lexiseg_train.training.learner import Learner
from lexiseg_train.training.processes import join, rank, world_size
from tests.processes import MAX_SECONDS
from tests.train.training.toy import ToyBatch, ToyNetwork, ToyRun, recipe_for

TOYS = ("left-alone", "killed")
# The gradient of a bias before a batch norm is rounding: with less epsilon, Adam would make a step of its sign.
USUAL = {"checkpoint_steps": 2, "workers": 1, "log_steps": 1, "epsilon": 1e-3}
CHANGED = {"sharded-later": ("none", "full"), "sharded-first": ("full", "none")}  # `sharding`, which changes half way
BROKEN = {3: "a.jpg", 6: "b.jpg", 7: "b.jpg", 13: "c.jpg"}  # by the batch's number; odd ones are the second process's


class Skipping(ToyRun):
    """Some batches meet a broken sample: one that both processes come to, others that only the second does."""

    def _loss(self, batch: ToyBatch) -> Tensor:
        if batch.number in BROKEN:
            self.skips.add([Skipped(BROKEN[batch.number], "is cut off")])
        return super()._loss(batch)

    def _extra_figures(self) -> dict[str, float]:
        return super()._extra_figures() | {"skipped": len(self.skips)}

    def _validate(self) -> dict[str, float]:
        return super()._validate() | {"gathered": len(gather(torch.zeros(1)))}


class Killed(Skipping):
    """Rank 1 kills itself in the middle of a step, once."""

    def _loss(self, batch: ToyBatch) -> Tensor:
        once = self.recipe.out / "killed"
        if rank() == 1 and self.step == 5 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._loss(batch)


def toy(what: str, out: Path) -> None:
    run = (Killed if what == "killed" else Skipping)(recipe_for(out, steps=9, **USUAL))
    run.train()
    torch.save({"seen": run.seen}, out / f"rank-{rank()}.pt")


def gradients(out: Path) -> list[dict[str, Tensor]]:
    """Of eight examples in passes of two: of all that learns, then without a part that is frozen in between.

    One number is never used, another only for the first four examples, which are the first process's.
    """
    torch.manual_seed(0)
    network = ToyNetwork().eval()
    for name in ("unused", "sometimes"):
        network.register_parameter(name, nn.Parameter(torch.ones(())))
    device = join("cpu")
    learner = Learner(recipe_for(out), network, device)
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))

    def loss(rows: Tensor) -> Tensor:
        told: Tensor = learner.network(inputs[rows]).square().mean()
        return told * learner.network.get_parameter("sometimes") if int(rows[0]) < 4 else told

    found = []
    for learns in (True, False):
        network.first.requires_grad_(learns)
        learner.begin(0.1)
        learner.backward(loss, torch.split(torch.arange(8).chunk(world_size())[rank()], 2))
        found.append({name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None})
    return found


def accumulated(out: Path) -> None:
    out.mkdir(exist_ok=True)
    torch.save({"gradients": gradients(out)}, out / f"rank-{rank()}.pt")


def changed(what: str, out: Path) -> None:
    """The steps of `left-alone`; validation and a part by itself must not change them."""
    for steps, sharding in zip((4, 9), CHANGED[what], strict=True):
        own = {"sharding": sharding, "recompute": ["first"], "validate_steps": 2, "best_by": "-error"}
        run = Skipping(recipe_for(out, steps=steps, **USUAL, **own))
        run.train()
    moments = [value for state in run.learner.optimizer.state.values() for value in state.values()]
    tensors = (*run.network.parameters(), *run.average.values(), *moments)
    torch.save({"elements": sum(own_shard(each).numel() for each in tensors)}, out / f"rank-{rank()}.pt")


def work(names: str, out: Path) -> None:
    torch.set_num_threads(1)
    signal.alarm(MAX_SECONDS)  # torchrun would wait for a hung collective
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for each in names.split(","):
        if each == "accumulated":
            accumulated(out / each)
        else:
            (toy if each in TOYS else changed)(each, out / each)
