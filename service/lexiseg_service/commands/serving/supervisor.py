"""Child processes of `lexiseg serve`: started, restarted with backoff, stopped in order.

A child is a fork of this process, which has one thread and has imported neither torch nor gRPC. Each child leads a
process group of its own, so Ctrl-C in a terminal reaches the supervisor alone, which stops the gateway before the
workers: requests in flight are answered.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

logger = structlog.get_logger("lexiseg.serve")
MIN_DELAY, MAX_DELAY = 0.5, 30.0  # seconds before a restart; doubled after each short life
LONG_LIFE = 60.0  # seconds after which the backoff starts over
POLL_SECONDS = 0.05  # between two checks whether a child may start
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
Handler = Callable[[int, object], None]


@dataclass(eq=False)
class Child:
    """One process. `pid` is 0 while it does not run.

    Args:
        name: of its role.
        run: the work of the process; returns its exit status.
        may_start: whether it can start now.
        on_end: called with its exit status; a negative one is the signal that ended it.
    """

    name: str
    run: Callable[[], int]
    may_start: Callable[[], bool] = lambda: True
    on_end: Callable[[int], object] = lambda _: None
    pid: int = 0
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

    def schedule(self) -> float:
        """Set the time of its next start; return the delay in seconds."""
        lived = time.monotonic() - self.started
        self.short_lives = 0 if lived >= LONG_LIFE else self.short_lives + 1
        delay = min(MAX_DELAY, MIN_DELAY * 2.0 ** max(0, self.short_lives - 1))
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

        A child that ends is started again. If its first run ends with an error, it has logged why and would fail again:
        the others are stopped, and its status is returned.
        """
        lifeline, our_end = os.pipe()  # a child reads EOF when the supervisor is gone, even if it was killed
        with _signals(self._stop) as wakeups:
            child = self._supervise(wakeups)
        os.close(our_end)
        if child is None:
            os.close(lifeline)
            return self._status
        threading.Thread(target=_stop_at_end_of, args=(lifeline,), daemon=True).start()
        return child.run()

    def _supervise(self, wakeups: socket.socket) -> Child | None:
        """Return None when all have ended; in a child, the child to run."""
        while True:
            for child in [] if self._stopping else self._children:
                if not child.pid and child.due <= time.monotonic() and child.may_start() and child.fork():
                    return child
            self._wait(wakeups)
            for child in self._children:
                status = child.ended()
                if status is not None:
                    child.on_end(status)
                    self._ended(child, status)
            if self._stopping:
                self._stop_workers()
                if not any(child.pid for child in self._children):
                    return None

    def _wait(self, wakeups: socket.socket) -> None:
        """Wait until a signal comes or a child is due."""
        waiting = [] if self._stopping else [child.due for child in self._children if not child.pid]
        seconds = max(POLL_SECONDS, min(waiting) - time.monotonic()) if waiting else None
        if select.select((wakeups,), (), (), seconds)[0]:
            wakeups.recv(4096)

    def _ended(self, child: Child, status: int) -> None:
        if self._stopping:
            if child is self._gateway:
                self._status = self._status or max(0, status)
        elif status > 0 and child.lives == 1:
            self._status, self._stopping = status, True
            self._gateway.send(signal.SIGTERM)
        else:
            logger.error("process ended", role=child.name, status=status, restart_seconds=child.schedule())

    def _stop(self, number: int, _: object) -> None:
        if number == signal.SIGCHLD:
            return
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


@contextmanager
def _signals(handler: Handler) -> Iterator[socket.socket]:
    """Call the handler at each signal, and make the socket readable; restore the handlers at the end."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    numbers = [number for number in STOP_SIGNALS if number != signal.SIGHUP or _hangup_stops()]
    before = {number: signal.signal(number, handler) for number in (*numbers, signal.SIGCHLD)}
    previous = signal.set_wakeup_fd(writer.fileno())
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        for number, action in before.items():
            signal.signal(number, action)
        reader.close()
        writer.close()


def _hangup_stops() -> bool:
    """Whether SIGHUP stops us: not where the parent (nohup) ignores it."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def _stop_at_end_of(lifeline: int) -> None:
    """In a child: stop it when the supervisor is gone."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
