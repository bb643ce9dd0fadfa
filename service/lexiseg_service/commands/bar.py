"""Progress of a command on the standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0  # between lines


class Bar:
    """Counts what is done of one task of a `Progress`; with `lines` it also writes lines with the pace."""

    def __init__(self, progress: Progress, title: str, total: int | None, done: int, *, lines: bool) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, completed=done)
        self._lines = lines
        self._done_before = done
        self._began = self._line_at = time.monotonic()

    def expect(self, total: int) -> None:
        """Set the number of things to do."""
        self._progress.update(self._task, total=total)

    def step(self, count: int = 1) -> None:
        """Count things that are done."""
        self._progress.advance(self._task, count)
        now = time.monotonic()
        if self._lines and now - self._line_at >= LINE_SECONDS:
            self._line_at = now
            (task,) = self._progress.tasks
            of = "" if task.total is None else f" of {task.total:,.0f}"
            pace = (task.completed - self._done_before) / (now - self._began)
            typer.echo(f"{task.description}: {task.completed:,.0f}{of}, {pace:,.1f} a second", err=True)


@contextmanager
def bar_of(title: str, total: int | None = None, done: int = 0, *, shown: bool = True) -> Iterator[Bar]:
    """Show progress while the block runs.

    Args:
        title: of the bar.
        total: number of things to do; None: not known yet.
        done: how many of them were done before.
        shown: False writes nothing, as for all but the first of several processes.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    counts = (MofNCompleteColumn(), TimeRemainingColumn())
    is_bar = shown and console.is_terminal
    if shown and done:
        typer.echo(f"{title}: {done:,} of {total or done:,} were done before", err=True)
    with Progress(*columns, *counts, console=console, transient=True, disable=not is_bar) as progress:
        yield Bar(progress, title, total, done, lines=shown and not is_bar)
