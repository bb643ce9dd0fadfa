"""How far a job is: pictures, their pace, failures, and when it will be done."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from lexiseg_service.commands.bulk.segmenting import Report

LINE_SECONDS = 10.0  # between lines, where the standard error is no terminal
STEADY_SECONDS = 5.0  # after the first chunk: from then on the pace leaves out what loading the model took


class Tally:
    """What became of the inputs so far. The pace counts what was segmented now."""

    def __init__(self, inputs: int, done: int) -> None:
        """
        Args:
            inputs: of the whole job.
            done: of them, before.
        """
        self.inputs = inputs
        self.done = done
        self.fresh = self.failures = 0
        self.reasons: list[str] = []
        self._began = time.monotonic()
        self._first_at = 0.0
        self._first = 0

    def add(self, report: Report) -> None:
        """One chunk has ended."""
        if not self.fresh:
            self._first_at, self._first = time.monotonic(), report.inputs
        self.done += report.inputs
        self.fresh += report.inputs
        self.failures += report.failures
        self.reasons = [*self.reasons, *report.reasons][:3]

    @property
    def pace(self) -> float:
        """Pictures a second: since the first chunk ended, once that says something."""
        now = time.monotonic()
        if self.fresh > self._first and now - self._first_at >= STEADY_SECONDS:
            return (self.fresh - self._first) / (now - self._first_at)
        return self.fresh / max(now - self._began, 1e-9)

    @property
    def failure_rate(self) -> float:
        """Of what was segmented now."""
        return self.failures / max(self.fresh, 1)

    def __str__(self) -> str:
        left = (self.inputs - self.done) / self.pace if self.fresh else None
        ends = "" if left is None else f", {_spoken(left)} left"
        return f"{self.done:,} of {self.inputs:,} pictures, {self.pace:,.1f} a second, {self.failures:,} failures{ends}"


def _spoken(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


class Shown:
    """A tally as a bar on a terminal, as a line now and then elsewhere."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        console = Console(stderr=True)
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        if self._bar is not None:
            self._task = self._bar.add_task(str(tally), total=tally.inputs, completed=tally.done)
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self) -> None:
        """The tally has grown."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._tally.done, description=str(self._tally))
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            typer.echo(str(self._tally), err=True)
            self._said_at = time.monotonic()
