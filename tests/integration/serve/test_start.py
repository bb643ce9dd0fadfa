"""What a process refuses at its start, and that a signal ends it there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import torch

from tests.integration.processes import Worker
from tests.integration.server import ROOT, TO_START

UNSHARE = shutil.which("unshare")
# As in a container: a namespace in which the command is the first process.
ALONE = [UNSHARE or "unshare", "--pid", "--fork", "--kill-child"]
ENDLESS = """
import signal

print("importing", flush=True)
while True:
    signal.pause()
"""
ENDED_BY_TERM = 128 + signal.SIGTERM


def may_unshare() -> bool:
    return UNSHARE is not None and subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_worker_that_is_told_cuda_and_has_none_does_not_start(tmp_path: Path) -> None:
    with Worker(tmp_path / "worker.log", LEXISEG_DEVICE="cuda") as worker:
        status = worker.wait()
        assert worker.process.stdout is not None
        said = worker.process.stdout.read()

    log = (tmp_path / "worker.log").read_text()
    assert (status, said) == (1, "")  # it never listened
    assert log.startswith("lexiseg: device 'cuda' was asked for, but torch finds no CUDA device")
    assert "Traceback" not in log


@pytest.mark.skipif(not may_unshare(), reason="no namespace of one's own for a process here")
def test_a_first_process_is_ended_by_sigterm_before_it_listens(tmp_path: Path) -> None:
    """Sent while the command line's module imports what it needs, here without end: long before there is a server."""
    (tmp_path / "typer.py").write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [*ALONE, sys.executable, "-m", "lexiseg_service.cli", "gateway", "--workers", "127.0.0.1:1"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as outside:
        guard = threading.Timer(TO_START, outside.kill)
        guard.start()
        try:
            assert outside.stdout is not None
            assert outside.stdout.readline() == "importing\n"
            (first,) = psutil.Process(outside.pid).children()
            first.send_signal(signal.SIGTERM)
            status = outside.wait()
        finally:
            guard.cancel()

    assert status == ENDED_BY_TERM
