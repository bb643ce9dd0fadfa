"""The processes of one evaluation: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from lexiseg_model.evaluation.counts import Counts


@dataclass(frozen=True)
class Ranks:
    """This process among its siblings."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """This process is the one that speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come this far."""
        if self.world > 1:
            dist.barrier()

    def total(self, counts: Counts) -> Counts:
        """The sum over all processes, the same in each; of whole numbers, so it does not depend on how many."""
        if self.world == 1:
            return counts
        rows = torch.from_numpy(np.stack([counts.hits, counts.truth, counts.predicted]))
        dist.all_reduce(rows)
        return Counts(*rows.numpy())


ALONE = Ranks()


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Joins the processes that torchrun started (its WORLD_SIZE and RANK), over gloo: only counts are exchanged."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def device_of(device: str) -> str:
    """`auto` becomes a GPU of its own for each process on one machine (torchrun's LOCAL_RANK)."""
    if device != "auto" or "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
