"""`lexiseg serve`: a gateway and workers on one machine, joined by gRPC over Unix sockets; a trainer, if wanted."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import structlog

from lexiseg_model.command_line.signals import on_signals
from lexiseg_service.commands.serving import trainer
from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.retries import backoff
from lexiseg_service.settings import AUTO, Settings
from lexiseg_service.watch import logs
from lexiseg_service.worker.crash_record import record_crash

logger = structlog.get_logger("lexiseg.serve")
MIN_DELAY, MAX_DELAY = 0.5, 30.0  # seconds before a restart; doubled after each short life
LONG_LIFE = 60.0  # seconds after which the backoff starts over
POLL_SECONDS = 0.05  # between two looks at the children
PREFIX = "lexiseg-serve-"
CORES_EACH = 4  # a worker, which is bound by the GIL, keeps so many busy (docs/performance.md)
MAX_BY_ITSELF = 8  # workers; more brought nothing on one GPU
MAX_WORKERS = 64
# Bytes of a worker without its weights: on a GPU context and tiles of a batch, in memory libraries and pictures.
DEVICE_BYTES = 1_500_000_000
MEMORY_BYTES = 1_000_000_000


class SocketFolder:
    """A new folder for the sockets that only this user may enter; folders of killed services are removed.

    Programs that tidy up temporary files skip a locked folder. A lock ends with the processes that hold it, also when
    they are killed.
    """

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir())
        for stale in root.glob(f"{PREFIX}*"):
            with suppress(OSError):  # it is in use, another user's, or gone
                lock = _locked(stale)
                shutil.rmtree(stale, ignore_errors=True)
                os.close(lock)
        draft = Path(tempfile.mkdtemp(prefix="lexiseg-new-"))
        self._lock = _locked(draft)
        # Locked before it has the name that others look for.
        self.path = draft.rename(root / (PREFIX + draft.name.rpartition("-")[2]))
        self._sockets: set[Path] = set()  # sockets that were there
        self._renewed: Path | None = None  # a socket that its process was told to make again

    def is_lost(self, socket: Path) -> bool:
        """Whether the socket of a running process was removed; then its folder is there again.

        One process is told at a time, so that the others go on answering: their connections outlive the sockets.
        """
        if socket.exists():
            self._sockets.add(socket)
            if socket == self._renewed:
                self._renewed = None
            return False
        if socket not in self._sockets or self._renewed is not None:
            return False
        logger.error("socket was removed", socket=socket.name)
        self._sockets.discard(socket)
        self._renewed = socket
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
            os.close(self._lock)
            self._lock = _locked(self.path)
        if self.path.lstat().st_uid != os.getuid():
            raise NotReady(f"{self.path} was removed and belongs to another user now")
        return True

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder. Raises BlockingIOError: another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(eq=False)
class Child:
    """One process."""

    name: str  # of its role
    run: Callable[[], int]  # its work; returns its exit status
    socket: Path | None = None  # of a worker, whose crashes are recorded
    is_lost: Callable[[], bool] = lambda: False  # whether nobody can reach it any more: it is told to stop
    may_start: Callable[[], bool] = lambda: True  # whether it can start now
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
        return time.monotonic() - self.started >= LONG_LIFE

    def schedule(self) -> float:
        """Set the time of its next start; return the delay in seconds."""
        self.short_lives = 0 if self.lived_long else self.short_lives + 1
        delay = backoff(max(0, self.short_lives - 1), MIN_DELAY, MAX_DELAY)
        self.due = time.monotonic() + delay
        return delay

    def send(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Supervisor:
    """Runs workers and a gateway as child processes until a signal asks it to stop.

    A child is a fork of this process, which has one thread and has imported neither torch nor gRPC. Each child leads a
    process group of its own, so Ctrl-C in a terminal reaches only the supervisor, which stops the gateway before the
    workers: requests in flight are answered.
    """

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

        def stop_at_its_end() -> None:
            os.read(lifeline, 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop_at_its_end, daemon=True).start()
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
                    if child.socket is not None:
                        record_crash(child.socket, status, time.monotonic())
                    self._ended(child, status)
            if self._stopping:
                if not self._gateway.pid and not self._workers_told:  # it needed them until it had ended
                    self._workers_told = True
                    for worker in self._workers:
                        worker.send(signal.SIGTERM)
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


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status."""
    if settings.trainings is not None:
        trainer.check(settings)
    named, served = settings.phrases_model, settings.model_names
    if named is not None and named not in (models := {*served, *(name.partition("@")[0] for name in served)}):
        expected = f"one of LEXISEG_MODEL ({', '.join(sorted(models))})"
        raise InvalidValue.of("--phrases-model / LEXISEG_PHRASES_MODEL", named, expected)
    names = [f"worker-{number}" for number in range(count(settings))]
    logs.configure(settings, "serve")
    sockets = SocketFolder()
    supervisor_pid = os.getpid()
    paths = [sockets.path / name for name in names]
    children = [
        Child(path.name, partial(_worker, settings, path), path, partial(sockets.is_lost, path)) for path in paths
    ]
    if settings.trainings is not None:
        children.append(Child("trainer", partial(trainer.run, settings), may_start=paths[0].exists))
    try:
        return Supervisor(children, Child("gateway", partial(_gateway, settings, paths))).run()
    finally:
        if os.getpid() == supervisor_pid:
            sockets.remove()


def _worker(settings: Settings, socket: Path) -> int:
    from lexiseg_service.commands.serving.worker import run

    return run(settings, socket)


def _gateway(settings: Settings, sockets: list[Path]) -> int:
    from lexiseg_service.commands.serving.gateway import run

    addresses = tuple(f"unix:{socket}" for socket in sockets)
    return run(settings.model_copy(update={"workers": addresses}), sockets)


class Room(NamedTuple):
    """What workers share: cores, free bytes of memory and of a GPU (None: unknown, or no GPU), and bytes of weights."""

    cores: int
    memory: int | None
    device: int | None
    weights: int


def count(settings: Settings) -> int:
    """The number of workers in the settings; `auto` finds it out. Raises InvalidValue: it is no such number."""
    match settings.workers:
        case ():
            return 1
        case (number,) if number == AUTO:
            # In a process of its own: it imports torch, which would be in every fork of this one.
            with ProcessPoolExecutor(1, get_context("fork")) as processes:
                return fitting(processes.submit(room, settings).result())
        case (number,) if number.isdecimal() and 1 <= int(number) <= MAX_WORKERS:
            return int(number)
    expected = f"1 to {MAX_WORKERS} worker processes, or {AUTO}"
    raise InvalidValue.of("--workers / LEXISEG_WORKERS", ",".join(settings.workers), expected)


def fitting(room: Room) -> int:
    """The number of workers that cores and memory are enough for; one at least.

    Each holds the weights on its device: a GPU's memory, or else the machine's.
    """
    weights = room.weights if room.device is None else 0
    limits = [room.cores // CORES_EACH, MAX_BY_ITSELF]
    limits += [] if room.memory is None else [room.memory // (MEMORY_BYTES + weights)]
    limits += [] if room.device is None else [room.device // (DEVICE_BYTES + room.weights)]
    return max(1, min(limits))


def room(settings: Settings) -> Room:
    """Look at this machine, and at the models that the settings name; imports torch."""
    import torch

    from lexiseg_model.catalogue import models as catalogue
    from lexiseg_model.resources.device import choose_device, cores, free_bytes
    from lexiseg_service.worker.models.served import served_models

    entries = (catalogue.find(each.name, settings.models_dir) for each in served_models(settings))
    weights = sum(map(catalogue.weight_bytes, entries))
    device, machine = choose_device(settings.device), torch.device("cpu")
    gpu = free_bytes(device) if device.type == "cuda" else None
    return Room(cores(), free_bytes(machine), gpu, weights)
