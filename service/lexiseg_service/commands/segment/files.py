"""File after file through something that answers, several in flight, in the files' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from lexiseg_service.commands.segment.annotations import Annotations, Answer
from lexiseg_service.errors import ServiceError

A = TypeVar("A", bound=Answer)
AHEAD = 8  # files in flight: enough to overlap reading, computing and writing


def segment_files(images: list[Path], ask: Callable[[bytes], Future[A]], annotations: Annotations) -> int:
    """Segments every file; one that fails is reported and the others go on. Returns 1 if any failed."""
    failures: list[str] = []
    warnings: dict[str, None] = {}  # each is told once, however many files it is about
    pending: deque[tuple[Path, Future[A]]] = deque()

    def settle() -> None:
        path, future = pending.popleft()
        try:
            answer = future.result()
            annotations.add(path, answer)
            warnings.update(dict.fromkeys(warning.detail for warning in answer.warnings))
        except ServiceError as error:
            failures.append(f"{path}: {error}")
        progress.advance(task)

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("segmenting", total=len(images))
        for path in images:
            try:
                content = path.read_bytes()
            except OSError as error:
                failures.append(f"{path}: {error.strerror}")
                progress.advance(task)
                continue
            if len(pending) == AHEAD:
                settle()
            pending.append((path, ask(content)))
        while pending:
            settle()
    for warning in warnings:
        typer.echo(f"lexiseg: warning: {warning}", err=True)
    _report(failures, len(images), annotations)
    return 1 if failures else 0


def _report(failures: Sequence[str], n_images: int, annotations: Annotations) -> None:
    for failure in failures:
        typer.echo(f"lexiseg: {failure}", err=True)
    written = annotations.write()
    done = n_images - len(failures)
    typer.echo(f"{done} of {n_images} images: {written} and one picture each in {annotations.folder}/")
