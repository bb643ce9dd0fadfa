"""What a command prints: its lines, and progress on standard error, by a bar or a line every 30 seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lexiseg_model.files.names import on_one_line

LINE_SECONDS = 30.0  # between lines


def echo(lines: str, err: bool = False) -> None:
    """Print lines; a name in them that a stranger chose steers no terminal."""
    typer.echo("\n".join(map(on_one_line, lines.split("\n"))), err=err)


class Bar:
    """Progress of one task of rich's `Progress`; with `lines` it also prints the count and the rate."""

    def __init__(self, progress: Progress, title: str, total: int | None, n_before: int, *, lines: bool) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, completed=n_before)
        self._lines = lines
        self._done_before = n_before
        self._began = self._line_at = time.monotonic()

    def expect(self, count: int) -> None:
        """Add `count` items to the total."""
        self._progress.update(self._task, total=(self._progress.tasks[0].total or 0) + count)

    def step(self, count: int = 1) -> None:
        """Add `count` finished items; prints a line if the last one is LINE_SECONDS old."""
        self._progress.advance(self._task, count)
        if time.monotonic() - self._line_at >= LINE_SECONDS:
            self.write_line()

    def write_line(self) -> None:
        """Print the count and the rate, unless a bar shows them."""
        if not self._lines:
            return
        self._line_at = time.monotonic()
        (task,) = self._progress.tasks
        of = "" if task.total is None else f" of {task.total:,.0f}"
        pace = (task.completed - self._done_before) / max(self._line_at - self._began, 1e-9)
        typer.echo(f"{task.description}: {task.completed:,.0f}{of}, {pace:,.1f} a second", err=True)


@contextmanager
def bar_of(
    title: str,
    total: int | None = None,  # None: not known yet
    n_before: int = 0,  # by an earlier run
    *,
    is_visible: bool = True,  # False in all but the first of several processes
    summary: bool = True,  # the count of the earlier run and, without a bar, the final line
) -> Iterator[Bar]:
    """Show progress while the block runs."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    counts = (MofNCompleteColumn(), TimeRemainingColumn())
    is_bar = is_visible and console.is_terminal
    if is_visible and summary and n_before:
        typer.echo(f"{title}: {n_before:,} of {total or n_before:,} were done before", err=True)
    with Progress(*columns, *counts, console=console, transient=True, disable=not is_bar) as progress:
        bar = Bar(progress, title, total, n_before, lines=is_visible and not is_bar)
        try:
            yield bar
        finally:
            if summary:
                bar.write_line()
