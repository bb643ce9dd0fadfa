"""Run the clients of other tools, each in a separate process because of their pins (requirements/tools.txt)."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ended

FOLDER = Path(sys.prefix) / "tools"
CLIENTS = Path(__file__).with_name("clients")
SECONDS = 120


def ask_with(client: str, *arguments: str) -> Any:
    """What a client of `clients/` prints, which is JSON."""
    if not FOLDER.is_dir():
        pytest.skip(f"there is no {FOLDER}; `make test` installs the tools' clients")
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(FOLDER)])
    command = [sys.executable, str(CLIENTS / f"{client}.py"), *arguments]
    answer = ended(command, SECONDS, env=os.environ | {"PYTHONPATH": path})
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout)
