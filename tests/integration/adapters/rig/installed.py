"""Whole tools, each in an environment of its own below .venv/rig: `make tools` installs them."""

import sys
from pathlib import Path

import pytest

RIG = Path(sys.prefix) / "rig"


def program(environment: str, name: str) -> Path:
    """A program of one of the environments; without it the test is skipped."""
    path = RIG / environment / "bin" / name
    if not path.is_file():
        pytest.skip(f"there is no {path}; `make tools` installs the whole tools")
    return path
