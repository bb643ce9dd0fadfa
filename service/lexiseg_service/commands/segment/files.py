"""File after file through something that answers, several in flight, in the files' order.

What is done is kept whenever it ends: by Ctrl-C at once, by a kill up to the last `SAVE_SECONDS`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from lexiseg_service.commands.segment.annotations import Annotations, Answer
from lexiseg_service.errors import ServiceError

A = TypeVar("A", bound=Answer)
SAVE_SECONDS = 30.0
STOPPED = 130  # what shells say of a program that Ctrl-C ended
AHEAD = 8  # files in flight: enough to overlap reading, computing and writing


def segment_files(images: list[Path], ask: Callable[[bytes], Future[A]], annotations: Annotations) -> int:
    """Segments every file that is not done yet; one that fails is reported and the others go on.

    Returns 1 if any failed, 130 if Ctrl-C ended it.
    """
    annotations.write()  # from the first picture on it is known whose folder this is
    to_do = [path for path in images if not annotations.has(path)]
    work = _Work(annotations, done=len(images) - len(to_do))
    pending: deque[tuple[Path, Future[A]]] = deque()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    stopped = False
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("segmenting", total=len(images), completed=work.done)
            for path in to_do:
                if len(pending) == AHEAD:
                    work.settle(*pending.popleft())
                try:
                    pending.append((path, ask(path.read_bytes())))
                except OSError as error:
                    work.failures.append(f"{path}: {error.strerror}")
                progress.update(task, completed=work.over)
            while pending:
                work.settle(*pending.popleft())
                progress.update(task, completed=work.over)
    except KeyboardInterrupt:
        stopped = True
        for _, future in pending:
            future.cancel()
    work.report(len(images), len(images) - len(to_do))
    if stopped:
        typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return STOPPED
    return 1 if work.failures else 0


@dataclass
class _Work:
    """What became of the files so far."""

    annotations: Annotations
    done: int
    failures: list[str] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)  # each is told once, however many files it is about
    saved: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> int:
        return self.done + len(self.failures)

    def settle(self, path: Path, future: Future[A]) -> None:
        """Waits for one file's answer, and keeps it."""
        try:
            answer = future.result()
        except ServiceError as error:
            self.failures.append(f"{path}: {error}")
            return
        self.annotations.add(path, answer)
        self.done += 1
        self.warnings.update(dict.fromkeys(warning.detail for warning in answer.warnings))
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.annotations.write()
            self.saved = time.monotonic()

    def report(self, n_images: int, n_before: int) -> None:
        """Says what is done, and where it lies."""
        for line in (*(f"warning: {warning}" for warning in self.warnings), *self.failures):
            typer.echo(f"lexiseg: {line}", err=True)
        written = self.annotations.write()
        before = f", {n_before} of them before," if n_before else ""
        typer.echo(f"{self.done} of {n_images} images{before}: {written} and one picture each in {written.parent}/")
