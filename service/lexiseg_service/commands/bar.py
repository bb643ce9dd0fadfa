"""How far a walk over files is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0  # between lines


class Lines:
    """Where the standard error is no terminal: one line at the end, and every `LINE_SECONDS` before it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._total = self._done = 0
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say()

    def expect(self, total: int) -> None:
        self._total = total

    def step(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._said_at >= LINE_SECONDS:
            self._say()

    def _say(self) -> None:
        typer.echo(f"{self._title}: {self._done:,} of {self._total:,}", err=True)
        self._said_at = time.monotonic()


class Bar(Lines):
    """On a terminal."""

    def __init__(self, title: str, console: Console) -> None:
        super().__init__(title)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def step(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)


@contextmanager
def bar_of(title: str) -> Iterator[Lines]:
    """What to tell how many there will be (`expect`) and that some are done (`step`)."""
    console = Console(stderr=True)
    with Bar(title, console) if console.is_terminal else Lines(title) as bar:
        yield bar
