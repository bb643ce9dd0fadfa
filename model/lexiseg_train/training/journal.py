"""The log of a run: JSON lines, progress bar, TensorBoard, unreadable samples.

`journal.jsonl` gets a line every so many steps and at every validation. On a terminal a bar shows pace and time left.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from lexiseg_model.errors import RecipeError
from lexiseg_model.files.atomic import write_durably
from lexiseg_train.data.pairs.source import Skipped, Skips
from lexiseg_train.training.distributed import gather_objects
from lexiseg_train.training.processes import rank, world_size
from lexiseg_train.training.recipe import RunRecipe

JOURNAL, SKIPPED = "journal.jsonl", "skipped.jsonl"
WINDOW = 100  # steps that the pace is averaged over


class Best(NamedTuple):
    step: int
    figure: float


def better(by: str, step: int, figures: Mapping[str, float], best: Best | None) -> Best | None:
    """The figure `by` of a validation if it beats the best so far; else None. After a minus, smaller is better."""
    name = by.removeprefix("-")
    if name not in figures:
        raise RecipeError(f"best_by: validation has no figure {name!r}; it has: {', '.join(figures) or 'none'}")
    sign = -1 if by.startswith("-") else 1
    if best is not None and not sign * figures[name] > sign * best.figure:
        return None
    return Best(step, figures[name])


class _Mark(NamedTuple):
    at: float
    examples: int
    share: float


class Pace:
    def __init__(self, examples: int, share: float) -> None:
        self._marks = deque([_Mark(time.monotonic(), examples, share)], WINDOW + 1)

    def step(self, examples: int, share: float) -> None:
        self._marks.append(_Mark(time.monotonic(), examples, share))

    @property
    def examples_per_second(self) -> float:
        first, last = self._marks[0], self._marks[-1]
        return (last.examples - first.examples) / max(1e-9, last.at - first.at)

    @property
    def seconds_left(self) -> float | None:
        """Estimate; None before the first step."""
        first, last = self._marks[0], self._marks[-1]
        if last.share <= first.share:
            return None
        return (1 - last.share) * (last.at - first.at) / (last.share - first.share)


def read_journal(out: Path) -> list[dict[str, Any]]:
    """Entries of a run's journal; lines that a kill cut short are skipped."""
    path = out / JOURNAL
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with suppress(ValueError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict) and "step" in entry]


class Journal:
    def __init__(self, recipe: RunRecipe, writes: bool) -> None:
        self._recipe = recipe
        self._writes = writes
        self._path = recipe.out / JOURNAL
        self._tensorboard: Any = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True),
            auto_refresh=False,  # starts no thread: workers are forked from this process
            disable=not (writes and Console(stderr=True).is_terminal),
        )
        self._task = self._bar.add_task(recipe.out.name, total=1.0, pace="starting")

        self._bar.start()

    def close(self) -> None:
        self._bar.stop()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def resume(self, step: int) -> None:
        """Drop lines after `step`, which a kill undid, and start TensorBoard."""
        if not self._writes:
            return
        if self._path.exists():
            earlier = [entry for entry in read_journal(self._recipe.out) if step and entry["step"] <= step]
            text = "".join(f"{json.dumps(entry)}\n" for entry in earlier)
            write_durably(self._path, lambda fresh: fresh.write_text(text))
        if self._recipe.trackers:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise RecipeError("trackers: tensorboard is not installed; pip install tensorboard") from None
            self._tensorboard = SummaryWriter(str(self._recipe.out / "tensorboard"), purge_step=step + 1)

    def say(self, text: str) -> None:
        if self._writes:
            if self._bar.disable:
                print(text, flush=True)
            else:
                self._bar.console.print(text, markup=False, highlight=False)

    def entry(self, step: int, figures: Mapping[str, object], prefix: str = "") -> None:
        """Write a line with `step` first; TensorBoard gets the numbers with `prefix` before their names."""
        if not self._writes:
            return
        line = json.dumps({"step": step, **figures})
        with self._path.open("a") as lines:
            lines.write(f"{line}\n")
        self.say(line)
        if self._tensorboard is not None:
            for name, value in figures.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                    self._tensorboard.add_scalar(f"{prefix}{name}", value, step)

    def move(self, step: int, share: float, loss: float, pace: Pace) -> None:
        if self._bar.disable:
            return
        seconds = pace.seconds_left
        left = "-:--" if seconds is None else timedelta(seconds=round(seconds))
        words = f"step {step:,}  loss {loss:.4f}  {pace.examples_per_second:,.1f} examples/s  {left} left"
        self._bar.update(self._task, completed=share, pace=words)
        self._bar.refresh()


class SharedSkips(Skips):
    """Unreadable samples of all processes in one list, which rank 0 writes; others keep theirs until `gather`."""

    def __init__(self, listing: Path) -> None:
        super().__init__(listing if rank() == 0 else None)
        self._pending: list[Skipped] = []

    def add(self, skipped: Iterable[Skipped]) -> None:
        if rank() > 0:
            skipped = list(skipped)
            self._pending += [entry for entry in skipped if entry.name not in self.reasons]
        super().add(skipped)

    def gather(self) -> None:
        """Move the entries of all ranks to rank 0; every process calls it, before a checkpoint is written."""
        if world_size() == 1:
            return
        new, self._pending = self._pending, []
        for entries in gather_objects(new):
            self.add(entries)
