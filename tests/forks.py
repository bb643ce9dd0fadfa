"""Processes whose imports are paid once: forks of one that has torch and the service in memory.

A process that imports all that a server needs takes as long for it as for the rest of its start, and the tests start a
hundred. `multiprocessing`'s fork server, one for each process of the tests, imports them before the first; what runs in
a fork is the real command line in a process of its own. Whatever a test is to tell of the imports themselves, or of all
memory of a process, is started as anybody would start it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 120.0  # seconds of a command; a loaded machine needs a tenth of it
LOADED = [
    "lexiseg_service.cli",
    "lexiseg_service.commands.serving.serve",
    "lexiseg_service.commands.serving.worker",
    "lexiseg_model.methods.s_seg.training.losses",
    "lexiseg_model.methods.tcl.training.losses",
    "lexiseg_model.export.choose",
    "lexiseg_model.methods.tiny.segmenter",
    "onnxruntime",
    "tests.model.training.toy",
    "anyio._backends._asyncio",
    "uvloop",
]


def forks() -> ForkServerContext:
    """Makes processes that begin with all that imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


class Command:
    """`lexiseg` in a fork, its standard output in a pipe; as much of `subprocess.Popen` as the tests need.

    Args:
        arguments: of the command line.
        environment: all of it. What the C library or Python read at a process's start is the fork server's.
        log: its standard error is written to the end of this file.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        log.touch()
        context = forks()
        ours, its = context.Pipe(duplex=False)
        with ours, its:
            process = context.Process(target=_run, args=(arguments, dict(environment), log, its), daemon=True)
            process.start()
            self.stdout: TextIO = os.fdopen(os.dup(ours.fileno()))
        self._process: ForkServerProcess = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """The exit status, once there is one."""
        status: int | None = self._process.exitcode
        return status

    def wait(self, seconds: float) -> int:
        """The exit status.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        self._process.join(seconds)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("lexiseg", seconds)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, alone: bool = False
) -> Command | subprocess.Popen[str]:
    """`lexiseg` in the root of the tree: in a fork, or `alone`, as anybody would start it.

    Args:
        arguments: of the command line.
        environment: beside the tests' own. A fork has been started with the latter: what names another setting than
            lexiseg's is alone in any case.
        log: its standard error is written to the end of this file.
        alone: imports everything itself.
    """
    if not alone and all(name.startswith("LEXISEG_") for name in environment):
        return Command(arguments, os.environ | environment, log)
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "lexiseg_service.cli", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`lexiseg` in a fork, to its end.

    Raises:
        AssertionError: it went on for too long, and was killed.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = Command(arguments, os.environ | environment, log)
        guard = threading.Timer(LONGEST, command.kill)
        guard.start()
        try:
            output = command.stdout.read()
            status = command.wait(LONGEST)
        finally:
            guard.cancel()
            command.stdout.close()
        errors = log.read_text()
    assert status >= 0, errors
    return subprocess.CompletedProcess(["lexiseg", *arguments], status, output, errors)


def _run(arguments: Sequence[str], environment: dict[str, str], log: Path, output: Connection) -> None:
    """The command, from a process as `multiprocessing` leaves it to one as a shell would start it."""
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(output.fileno(), 1)
    output.close()
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(errors, 2)
    os.close(errors)
    sys.argv = ["lexiseg", *arguments]
    from lexiseg_service.cli import main

    main()
    sys.stdout.flush()
