"""Child processes of `lexiseg serve`: started, restarted with backoff, stopped in order.

A child is a fork of this process, which has one thread and has imported neither torch nor gRPC. Each child leads a
process group of its own, so Ctrl-C in a terminal reaches only the supervisor, which stops the gateway before the
workers: requests in flight are answered.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from lexiseg_model.command_line.signals import on_signals
from lexiseg_service.retries import backoff

logger = structlog.get_logger("lexiseg.serve")
MIN_DELAY, MAX_DELAY = 0.5, 30.0  # seconds before a restart; doubled after each short life
LONG_LIFE = 60.0  # seconds after which the backoff starts over
POLL_SECONDS = 0.05  # between two looks at the children


@dataclass(eq=False)
class Child:
    """One process."""

    name: str  # of its role
    run: Callable[[], int]  # its work; returns its exit status
    may_start: Callable[[], bool] = lambda: True  # whether it can start now
    on_end: Callable[[int], object] = lambda _: None  # gets its exit status; a negative one is the signal that ended it
    is_lost: Callable[[], bool] = lambda: False  # whether nobody can reach it any more: it is told to stop
    pid: int = 0  # while it runs
    lives: int = 0
    short_lives: int = 0  # in a row
    started: float = 0.0
    due: float = 0.0  # when it is to be started

    def fork(self) -> bool:
        """Start the process; True in the child."""
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            return True
        self.started = time.monotonic()
        self.lives += 1
        return False

    def ended(self) -> int | None:
        """The exit status of a process that has ended since the last call; negative is the signal that ended it."""
        if not self.pid:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    @property
    def lived_long(self) -> bool:
        """Whether its last life was long."""
        return time.monotonic() - self.started >= LONG_LIFE

    def schedule(self) -> float:
        """Set the time of its next start; return the delay in seconds."""
        self.short_lives = 0 if self.lived_long else self.short_lives + 1
        delay = backoff(max(0, self.short_lives - 1), MIN_DELAY, MAX_DELAY)
        self.due = time.monotonic() + delay
        return delay

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Supervisor:
    """Runs workers and a gateway as child processes until a signal asks it to stop."""

    def __init__(self, workers: Sequence[Child], gateway: Child) -> None:
        self._workers = workers
        self._gateway = gateway
        self._children = [*workers, gateway]
        self._n_stops = 0  # stop signals so far
        self._stopping = False
        self._workers_told = False
        self._status = 0

    def run(self) -> int:
        """Returns the exit status; in a child, the status of what the child runs.

        A child that ends is started again. If its first run soon ends with an error, it has logged why and would fail
        again: the others are stopped, and its status is returned.
        """
        lifeline, our_end = os.pipe()  # a child reads EOF when the supervisor is gone, even if it was killed
        # The parent (nohup) may ignore it.
        hangup = [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
        with on_signals(self._stop, signal.SIGTERM, signal.SIGINT, *hangup):
            child = self._supervise()
        os.close(our_end)
        if child is None:
            os.close(lifeline)
            return self._status
        threading.Thread(target=_stop_at_end_of, args=(lifeline,), daemon=True).start()
        return child.run()

    def _supervise(self) -> Child | None:
        """Return None when all have ended; in a child, the child to run."""
        while True:
            for child in [] if self._stopping else self._children:
                if not child.pid and child.due <= time.monotonic() and child.may_start() and child.fork():
                    return child
                if child.pid and child.is_lost():
                    child.send(signal.SIGTERM)
            time.sleep(POLL_SECONDS)
            for child in self._children:
                status = child.ended()
                if status is not None:
                    child.on_end(status)
                    self._ended(child, status)
            if self._stopping:
                self._stop_workers()
                if not any(child.pid for child in self._children):
                    return None

    def _ended(self, child: Child, status: int) -> None:
        if self._stopping:
            if child is self._gateway:
                self._status = self._status or max(0, status)
        elif status > 0 and child.lives == 1 and not child.lived_long:
            self._status, self._stopping = status, True
            self._gateway.send(signal.SIGTERM)
        else:
            logger.error("process ended", role=child.name, status=status, restart_seconds=child.schedule())

    def _stop(self, number: int, _: object) -> None:
        self._n_stops += 1
        self._stopping = True
        if self._n_stops == 1:
            self._gateway.send(signal.SIGTERM)
        else:  # the second one: do not wait for requests in flight
            for child in self._children:
                child.send(signal.SIGINT)

    def _stop_workers(self) -> None:
        """Stop the workers once the gateway, which needs them, has ended."""
        if not self._gateway.pid and not self._workers_told:
            self._workers_told = True
            for worker in self._workers:
                worker.send(signal.SIGTERM)


def _stop_at_end_of(lifeline: int) -> None:
    """In a child: stop it when the supervisor is gone."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
