"""Gradients of one step of TCL, S-Seg and CLIP in any number of parts and processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lexiseg_model.methods.tcl.network import logistic_noise
from lexiseg_train.methods.dense_clip.trainer import TowerPair
from lexiseg_train.methods.s_seg.trainer import Inputs, PseudoMasks, SSegLosses
from lexiseg_train.methods.s_seg.trainings import LossSettings as SSegLossSettings
from lexiseg_train.methods.tcl.trainer import Learned, inputs_of, joined, rows_of
from lexiseg_train.methods.tcl.trainings import LossSettings as TclLossSettings
from lexiseg_train.training.distributed import from_shards
from lexiseg_train.training.learner import Learner
from lexiseg_train.training.processes import join, rank, world_size
from lexiseg_train.training.recipe import Sharding
from lexiseg_train.training.run import total
from tests.model.methods.s_seg import small as s_seg
from tests.model.methods.tcl import small as tcl
from tests.train.training.toy import recipe_for

EXAMPLES = 8  # of a step
SIDE, TOKENS, WORDS = 64, 77, 400
NARROW = s_seg.SMALL.model_copy(update={"mask_width": 64})
MINI = "lexiseg-mini-16"


class Step(NamedTuple):
    """A network, and a step's loss of numbered examples through it, as a run of pairs has them."""

    network: nn.Module
    inputs: Callable[[list[list[int]]], list[Any]]
    rows: Callable[[Any], Any]
    loss: Callable[[Any], Tensor]


def drawn(row: int, *shape: int) -> Tensor:
    """Of one example, the same wherever it is made."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(row))


def pictures(rows: list[int], side: int, dtype: torch.dtype) -> Tensor:
    return torch.stack([drawn(row, 3, side, side) for row in rows]).to(dtype)


def sentences(rows: list[int], length: int = TOKENS) -> Tensor:
    tokens = torch.zeros(len(rows), length, dtype=torch.int64)
    for place, row in enumerate(rows):
        tokens[place, 0], tokens[place, 1], tokens[place, 2] = 49406, 1 + row % WORDS, 49407
    return tokens


def tcl_step(dtype: torch.dtype) -> Step:
    network = tcl.small_network().to(dtype)
    trained = Learned(network, TclLossSettings())  # without the frozen tower, which nothing shards

    def inputs(parts: list[list[int]]) -> list[Any]:
        made = []
        for rows in parts:
            texts = torch.stack([drawn(1000 + row, tcl.EMBEDDING) for row in rows]).to(dtype)
            uniform = torch.stack([drawn(2000 + row, 8, 8).sigmoid() for row in rows]).to(dtype)
            made.append(inputs_of(network, pictures(rows, 32, dtype), texts, logistic_noise(uniform)))
        return joined(made)

    return Step(trained, inputs, lambda part: rows_of(network, part), lambda rows: total(trained.losses.of_rows(rows)))


def s_seg_step(dtype: torch.dtype) -> Step:
    losses = SSegLosses(s_seg.small_network(NARROW), SSegLossSettings()).to(dtype).train()
    losses.network.backbone.eval()  # unlike Swin's, its batch norms would see a part; the projectors' see all

    def inputs(parts: list[list[int]]) -> list[Any]:
        made = []
        for rows in parts:
            masks = torch.stack([(drawn(1000 + row, 2, 16, 16) > 0).to(dtype) for row in rows])
            present = torch.tensor([[True, row % 3 > 0] for row in rows])
            made.append(Inputs(pictures(rows, SIDE, dtype), sentences(rows), PseudoMasks(masks, present)))
        return made

    return Step(losses, inputs, losses.rows, lambda rows: total(losses.of_rows(rows)))


def clip_step(dtype: torch.dtype) -> Step:
    torch.manual_seed(0)
    pair = TowerPair(MINI, True).to(dtype)

    def inputs(parts: list[list[int]]) -> list[Any]:
        return [(pictures(rows, 64, dtype), sentences(rows, length=8)) for rows in parts]

    return Step(pair, inputs, lambda part: pair.rows(*part), pair.of_rows)


STEPS = {"tcl": tcl_step, "s_seg": s_seg_step, "clip": clip_step}


def gradients(method: str, n_parts: int, dtype: torch.dtype, sharding: Sharding = "none") -> dict[str, Tensor]:
    """The mean gradients over processes, and the loss of this process as `loss`."""
    device = join("cpu")
    step = STEPS[method](dtype)
    learner = Learner(recipe_for(sharding=sharding), step.network, device)
    mine = torch.arange(EXAMPLES).chunk(world_size())[rank()]
    learner.begin(0.1)
    inputs = step.inputs([rows.tolist() for rows in mine.chunk(n_parts)])
    loss = learner.backward_over_rows(step.rows, step.loss, inputs)
    named = step.network.named_parameters()
    found = {name: from_shards(each.grad).clone() for name, each in named if each.grad is not None}
    return {"loss": torch.tensor(loss, dtype=dtype), **found}


def work(names: list[str], out: Path) -> None:
    """Write the gradients of each METHOD-PARTS-SHARDING-KIND."""
    torch.set_num_threads(1)
    for name in names:
        method, n_parts, sharding, kind = name.split("-")
        found = gradients(method, int(n_parts), getattr(torch, kind), "full" if sharding == "full" else "none")
        torch.save(found, out / f"{name}-{rank()}.pt")
