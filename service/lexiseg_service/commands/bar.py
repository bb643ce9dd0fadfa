"""Progress of a command: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0  # between lines
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TaskProgressColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)


class Bar:
    """The number of things to do (`expect`), and that some are done (`step`); `done` were before."""

    def __init__(self, title: str, progress: Progress | None, total: int | None = None, done: int = 0) -> None:
        self._title, self._progress = title, progress
        self._total, self._done, self._done_before = total, done, done
        self._began = self._said_at = time.monotonic()
        if progress is not None:
            self._task = progress.add_task(title, total=total, completed=done)

    def expect(self, total: int) -> None:
        """There are so many in all."""
        self._total = total
        if self._progress is not None:
            self._progress.update(self._task, total=total)

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if self._progress is not None:
            self._progress.advance(self._task, count)
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self.say()

    def say(self) -> None:
        """Write a line with the pace."""
        self._said_at = time.monotonic()
        pace = (self._done - self._done_before) / max(self._said_at - self._began, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}"
        typer.echo(f"{self._title}: {self._done:,}{of}, {pace:,.1f} a second", err=True)


@contextmanager
def bar_of(title: str, total: int | None = None, done: int = 0) -> Iterator[Bar]:
    """A bar on the standard error while the block runs; without a terminal, lines, the last one at its end."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(*COLUMNS, console=console) as progress:
            yield Bar(title, progress, total, done)
        return
    bar = Bar(title, None, total, done)
    try:
        yield bar
    finally:
        bar.say()


@contextmanager
def steps_of_first(title: str, total: int, *, first: bool) -> Iterator[Callable[[], None]]:
    """The `step` of a bar for the first of several processes; nothing is shown by the others."""
    if not first:
        yield lambda: None
        return
    with bar_of(title, total) as bar:
        yield bar.step
