"""Which commit the code is of: read from the files of a checkout, or from the version of the package; no git needed."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import lexiseg_model

ROOT = Path(lexiseg_model.__file__).parents[2]  # of a checkout; of an installed package somewhere else
LENGTH = 12  # characters of a commit that are told
OF_VERSION = re.compile(r"\+g([0-9a-f]{7,})")


def commit(root: Path = ROOT) -> str:
    """Of the code that runs; a version where it is installed from a release; "unknown" where it is not installed."""
    checked_out = _head(root / ".git")
    if checked_out is not None:
        return checked_out[:LENGTH]
    try:
        installed = version("lexiseg")
    except PackageNotFoundError:
        return "unknown"
    told = OF_VERSION.search(installed)
    return told[1] if told else f"version {installed}"


def _head(git: Path) -> str | None:
    """The commit that is checked out. In a second worktree `.git` is a file that says where its folder is."""
    if git.is_file():
        git = git.parent / git.read_text().partition("gitdir:")[2].strip()
    try:
        head = (git / "HEAD").read_text().strip()
    except OSError:
        return None
    if not head.startswith("ref:"):
        return head
    name = head.partition(":")[2].strip()
    shared = git / (git / "commondir").read_text().strip() if (git / "commondir").is_file() else git
    for place in (git / name, shared / name):
        if place.is_file():
            return place.read_text().strip()
    packed = shared / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), None)
