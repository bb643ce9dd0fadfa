"""What a run could not read, of all its processes in one list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lexiseg_model.data.pairs.skips import Skips
from lexiseg_model.data.pairs.source import Skipped
from lexiseg_model.training.gather import rank, world_size
from lexiseg_model.training.processes.group import everyones

SKIPPED = "skipped.jsonl"


class SharedSkips(Skips):
    """The first process writes; the others keep what they skipped until `gather`.

    So each sample has one line, whoever drew it, and no two processes append to one file, which may lie on a network.
    """

    def __init__(self, listing: Path) -> None:
        super().__init__(listing if rank() == 0 else None)
        self._kept: list[Skipped] = []

    def add(self, skipped: Iterable[Skipped]) -> None:
        if rank() > 0:
            skipped = list(skipped)
            self._kept += [entry for entry in skipped if entry.name not in self.reasons]
        super().add(skipped)

    def gather(self) -> None:
        """The first process counts and writes those of all; every process is to call it.

        Called before a checkpoint is written, it loses nothing to a kill: what comes after is drawn again.
        """
        if world_size() == 1:
            return
        kept, self._kept = self._kept, []
        for theirs in everyones(kept):
            self.add(theirs)
