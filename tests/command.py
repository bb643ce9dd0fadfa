"""The command line as a process: started and left running, or run to its end."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MAX_SECONDS = 120.0  # for one command; a loaded machine needs a tenth of it


def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    """Start `lexiseg` in the root of the tree, its standard output in a pipe.

    Args:
        arguments: of the command line.
        environment: added to that of the tests.
        log: standard error is appended to this file.
    """
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "lexiseg_service.cli", *arguments], cwd=ROOT, env=os.environ | environment,
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `lexiseg` in the root of the tree to its end.

    Raises:
        subprocess.TimeoutExpired: it ran for more than `MAX_SECONDS` and was killed.
    """
    command = [sys.executable, "-m", "lexiseg_service.cli", *arguments]
    return ended(command, MAX_SECONDS, cwd=ROOT, env=os.environ | environment)


def ended(command: Sequence[str | Path], timeout: float = 600.0, **how: Any) -> subprocess.CompletedProcess[str]:
    """What a program has said when it has ended, whatever its exit status; `how` is for `subprocess.run`."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **how)
