"""Small runs of TCL and S-Seg over numbered examples, for any number of processes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lexiseg_model.methods.tcl.network import TclNetwork, logistic_noise
from lexiseg_train.methods.s_seg.pseudo_masks import PseudoMasks
from lexiseg_train.methods.s_seg.recipe import LossSettings as SSegLossSettings
from lexiseg_train.methods.s_seg.trainer import SSegLosses
from lexiseg_train.methods.tcl.losses import TclLosses
from lexiseg_train.methods.tcl.recipe import LossSettings as TclLossSettings
from lexiseg_train.training.distributed import from_shards
from lexiseg_train.training.recipe import LocalPhase, Phase, Sharding
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream
from tests.model.methods.s_seg import small as s_seg
from tests.model.methods.tcl import small as tcl
from tests.train.training.toy import ToyRecipe, recipe_for

TOGETHER = 4  # examples of a step, over all processes
STEPS = 3
HELD_OUT = [9000, 9001, 9002]
SIDE, TOKENS, WORDS = 64, 77, 400

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Rows(Stream[list[int]]):
    """Numbers of examples, one after the other: batch n has the n-th few."""

    batch: int
    seed: int = 0

    def make(self, number: int, random: np.random.Generator) -> list[int]:
        return list(range(number * self.batch, (number + 1) * self.batch))


class Shared(Run[ToyRecipe, Network, list[int]], Generic[Network]):
    """A method's losses over examples that are known by their numbers; keeps what each step's gradients were."""

    def __init__(self, recipe: ToyRecipe, network: Network) -> None:
        super().__init__(recipe, network)
        self.rows: list[int] = []
        self.gradients: list[dict[str, Tensor]] = []

    def _batches(self, phase: LocalPhase) -> Rows:
        return Rows(phase.batch)

    def _step(self, batch: list[int], *more: list[int]) -> float:
        self.rows += batch
        loss = super()._step(batch, *more)
        named = self.network.named_parameters()
        self.gradients.append({name: from_shards(p.grad).clone() for name, p in named if p.grad is not None})
        return loss

    def _extra_figures(self) -> dict[str, float]:
        return {}

    def _losses(self, batch: list[int]) -> Any:
        raise NotImplementedError

    def _loss(self, batch: list[int]) -> Tensor:
        losses = self._losses(batch)
        self.note(**losses.figures)
        total: Tensor = losses.total
        return total

    def _validate(self) -> dict[str, float]:
        """Every process has the same examples."""
        return {"held_out_loss": self._losses(HELD_OUT).total.item()}

    def _weights(self) -> dict[str, Tensor]:
        return self.average


def drawn(row: int, *shape: int) -> Tensor:
    """Of one example, the same wherever it is made."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(row))


class TclTrained(nn.Module):
    """The network and the temperatures that its losses learn."""

    def __init__(self) -> None:
        super().__init__()
        self.network: TclNetwork = tcl.small_network()
        # The share of 0.4 lies between the areas of a batch's halves: the mean of their distances is not the distance
        # of their mean.
        self.losses = TclLosses(TclLossSettings())


class TclShared(Shared[TclTrained]):
    """All six losses."""

    def __init__(self, recipe: ToyRecipe) -> None:
        super().__init__(recipe, TclTrained())

    def _losses(self, batch: list[int]) -> Any:
        images = torch.stack([drawn(row, 3, 32, 32) for row in batch])
        texts = torch.stack([drawn(1000 + row, tcl.EMBEDDING) for row in batch])
        uniform = torch.stack([drawn(2000 + row, 8, 8).sigmoid() for row in batch])
        return self.network.losses(self.network.network, images, texts, logistic_noise(uniform))

    def _mode(self) -> None:
        self.network.train()
        self.network.network.visual.eval()


class SSegShared(Shared[SSegLosses]):
    """With batch norms, in training mode, and a different number of masks in every image."""

    def __init__(self, recipe: ToyRecipe) -> None:
        super().__init__(recipe, SSegLosses(s_seg.small_network(), SSegLossSettings()))

    def _losses(self, batch: list[int]) -> Any:
        images = torch.stack([drawn(row, 3, SIDE, SIDE) for row in batch])
        masks = torch.stack([(drawn(1000 + row, 2, 16, 16) > 0).float() for row in batch])
        present = torch.tensor([[True, row % 3 > 0] for row in batch])
        tokens = torch.zeros(len(batch), TOKENS, dtype=torch.int64)
        for place, row in enumerate(batch):
            tokens[place, 0], tokens[place, 1], tokens[place, 2] = 49406, 1 + row % WORDS, 49407
        return self.network(images, tokens, PseudoMasks(masks, present))


METHODS: dict[str, Callable[[ToyRecipe], Shared[Any]]] = {"tcl": TclShared, "s-seg": SSegShared}


def learned(what: str, out: Path, sharding: Sharding = "none") -> Shared[Any]:
    """A few steps of a method, of so many examples each, over however many processes there are."""
    recipe = recipe_for(
        out,
        steps=STEPS,
        phases=[Phase(after=0, crop=64, global_batch=TOGETHER)],
        # Where a gradient is nothing but rounding, Adam would make a step of its sign.
        epsilon=1e-3,
        learning_rate=2e-3,  # five times as much, and rounding grows to tenths in three steps
        decay_rule="all-but-vectors",
        log_steps=1,
        validate_steps=STEPS,
        sharding=sharding,
    )
    run = METHODS[what](recipe)
    run.train()
    return run
