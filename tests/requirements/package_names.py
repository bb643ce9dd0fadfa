"""What packages are called and need."""

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def canonical(requirement: str) -> str:
    """The name in a requirement, as the registry compares it (PEP 503); versions, extras and markers are left out."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def project_of(folder: str | Path) -> dict[str, Any]:
    """The project that the pyproject.toml of a folder describes."""
    project: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return project


def closure(lines: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """The distributions and all that they need here, but for some and what these need."""
    reached: set[str] = set()
    waiting = list(map(Requirement, lines))
    while waiting:
        each = waiting.pop()
        name = canonical(each.name)
        if name in reached.union(without) or (each.marker and not each.marker.evaluate({"extra": ""})):
            continue
        reached.add(name)
        try:
            waiting += map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:  # for another platform
            continue
    return reached
