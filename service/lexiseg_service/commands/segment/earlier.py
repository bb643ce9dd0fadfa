"""What an earlier run left in a folder: the same question goes on, another one gets a folder of its own."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

NAME = "annotations.json"
ASKED = "asked"  # key of annotations.json: what every image of it was asked
Content = dict[str, Any]


def folder_for(out: Path, asked: Content, name: str = NAME) -> tuple[Path, Content | None]:
    """The folder to write into, and what its file `name` already holds of this question.

    `out`, unless it holds answers to something else: then `out-2`, `out-3` and so on. Nothing is ever replaced.
    """
    folder, number = out, 2
    while (path := folder / name).exists():
        content = _read(path)
        if content is not None and content[ASKED] == json.loads(json.dumps(asked)):
            return folder, content
        folder, number = out.with_name(f"{out.resolve().name}-{number}"), number + 1
    return folder, None


def write_json(path: Path, content: Content) -> None:
    """As a whole, or not at all: whoever is stopped in the middle leaves what was there."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content))
    os.replace(fresh, path)


def refuse_file(folder: Path) -> None:
    """Before anything is computed.

    Raises:
        FileExistsError: there is a file of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))


def _read(path: Path) -> Content | None:
    """What was written here before; None of what is not ours."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not {ASKED, "images", "annotations"} <= content.keys():
        return None
    return content
