"""The command line as a process: started and left running, or run to its end."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lexiseg_service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
MAX_SECONDS = 120.0  # for one command; a loaded machine needs a tenth of it
# Of a service that is told nothing: such a one may run beside the tests, which take none of them.
DEFAULT_PORTS = {name: field.default for name, field in Settings.model_fields.items() if name.endswith("_port")}
# Any free port, in the environment of the tests and so of all processes that they start.
FREE_PORTS = {f"LEXISEG_{name.upper()}": "0" for name in DEFAULT_PORTS}


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


def refuse_default_ports(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: sockets of this process neither listen on a service's own ports nor connect to them.

    Raises:
        RuntimeError: it was tried.
    """
    if event in ("socket.bind", "socket.connect"):
        _, address = arguments
        if isinstance(address, tuple) and address[1] in DEFAULT_PORTS.values():
            raise RuntimeError(f"{event} of port {address[1]}, which may be somebody's service; take any free one")
