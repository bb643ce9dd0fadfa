"""How far an evaluation is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lexiseg_model.evaluation.ranks import Ranks

LINE_SECONDS = 30.0  # between lines of progress


@contextmanager
def progress_of(title: str, n_images: int, team: Ranks) -> Iterator[Callable[[], None]]:
    """What to call after each image; the first process speaks, of its own share."""
    console = Console(stderr=True)
    if not team.first:
        yield lambda: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=n_images)
            yield lambda: progress.advance(task)
    else:
        yield _Lines(title, n_images)


class _Lines:
    """One line at the beginning, at the end, and every `LINE_SECONDS` between them."""

    def __init__(self, title: str, n_images: int) -> None:
        self._title = title
        self._n_images = n_images
        self._done = 0
        self._say()

    def __call__(self) -> None:
        self._done += 1
        if self._done == self._n_images or time.monotonic() - self._said_at >= LINE_SECONDS:
            self._say()

    def _say(self) -> None:
        typer.echo(f"{self._title}: {self._done:,} of {self._n_images:,} images", err=True)
        self._said_at = time.monotonic()
