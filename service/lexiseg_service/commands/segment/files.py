"""Image after image through a model or a server, several in flight, in the images' order.

What is done is kept however the run ends: at once after Ctrl-C, up to the last `SAVE_SECONDS` after a kill.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from lexiseg_client import Segmentation
from lexiseg_service.commands.image_files import Source
from lexiseg_service.errors import ServiceError, TooLarge
from lexiseg_service.settings import Limits

Ask = Callable[[bytes], Segmentation]  # of an encoded image; raises ServiceError
SAVE_SECONDS = 30.0
STOPPED = 130  # the exit status of a program that Ctrl-C ended
AHEAD = 8  # images in flight: enough to overlap reading, computing and writing


class Keeper(Protocol):
    """Where answers go."""

    @property
    def folder(self) -> Path | None: ...

    def has(self, source: Source) -> bool: ...

    def exists(self, source: Source) -> bool: ...

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None: ...

    def write(self) -> str | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Manner:
    """How a run reports, and which images it leaves out."""

    quiet: bool = False  # neither progress nor a summary; only failures and warnings
    skip_existing: bool = False  # leave out images with results, even if the image has changed since
    limits: Limits = field(default_factory=Limits)


def segment_files(sources: Sequence[Source], ask: Ask, keeper: Keeper, manner: Manner | None = None) -> int:
    """Segment every image that is not done yet; one that fails is reported and the others go on.

    Returns 1 if any failed, 130 if Ctrl-C ended it. Where all fail nothing is written. The keeper is closed at the end.
    """
    with closing(keeper), ThreadPoolExecutor(AHEAD) as threads:
        return _segment_those_left(sources, lambda content: threads.submit(ask, content), keeper, manner or Manner())


def _segment_those_left(
    sources: Sequence[Source], submit: Callable[[bytes], Future[Segmentation]], keeper: Keeper, manner: Manner
) -> int:
    done_before = keeper.exists if manner.skip_existing else keeper.has
    to_do = [source for source in sources if not done_before(source)]
    work = _Work(keeper, done=len(sources) - len(to_do))
    pending: deque[tuple[Source, bytes, Future[Segmentation]]] = deque()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    stopped = False
    try:
        console = Console(stderr=True)
        silent = manner.quiet or not console.is_terminal  # a log would get an empty line
        with Progress(*columns, console=console, transient=True, disable=silent) as progress:
            task = progress.add_task("segmenting", total=len(sources), completed=work.done)
            for source in to_do:
                if len(pending) == AHEAD:
                    work.settle(*pending.popleft())
                try:
                    content = source.read(manner.limits)
                except ServiceError as error:
                    work.fail(source, error)
                else:
                    pending.append((source, content, submit(content)))
                progress.update(task, completed=work.done + len(work.failures))
            while pending:
                work.settle(*pending.popleft())
                progress.update(task, completed=work.done + len(work.failures))
    except KeyboardInterrupt:
        stopped = True
        for _, _, future in pending:
            future.cancel()
    work.report(len(sources), len(sources) - len(to_do), manner.quiet)
    if stopped:
        typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return STOPPED
    return 1 if work.failures else 0


@dataclass
class _Work:
    """The outcomes so far."""

    keeper: Keeper
    done: int
    failures: list[str] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)  # each is said once, however many images it is about
    saved: float = field(default_factory=time.monotonic)

    def settle(self, source: Source, content: bytes, future: Future[Segmentation]) -> None:
        """Wait for one image's answer, and keep it."""
        try:
            answer = future.result()
        except ServiceError as error:
            self.fail(source, error)
            return
        with self._named():
            self.keeper.add(source, content, answer)
        self.done += 1
        self.warnings.update(dict.fromkeys(warning.detail for warning in answer.warnings))
        if time.monotonic() - self.saved > SAVE_SECONDS:
            with self._named():
                self.keeper.write()
            self.saved = time.monotonic()

    def fail(self, source: Source, error: ServiceError) -> None:
        """One image without an answer; the message of one that is too large says what to do."""
        hint = "; by words --window 1024 takes any size" if isinstance(error, TooLarge) else ""
        self.failures.append(f"{source.name}: {error}{hint}")

    def report(self, n_images: int, n_before: int, quiet: bool) -> None:
        """Write what is left to write, and say where it lies."""
        for line in (*(f"warning: {warning}" for warning in self.warnings), *self.failures):
            typer.echo(f"lexiseg: {line}", err=True)
        with self._named():
            where = self.keeper.write()
        if quiet:
            return
        before = f", {n_before} of them before" if n_before else ""
        typer.echo(f"{self.done} of {n_images} images{before}: {where or 'nothing is written'}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the folder in errors of a full disk, which have no file name."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.keeper.folder or "")
            raise
