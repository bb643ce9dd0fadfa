"""What an earlier run left in a folder: the same question goes on, another one gets a folder of its own."""

from __future__ import annotations

import errno
import json
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

NAME = "annotations.json"
ASKED = "asked"  # key of annotations.json: what every image of it was asked
Content = dict[str, Any]


class Claim:
    """A folder into which this process alone writes, until it is released or gone. Made if need be; `of` takes one."""

    def __init__(self, folder: Path, *, is_new: bool, descriptor: int | None) -> None:
        self._folder = folder
        self._is_new = is_new
        self._let_go = None if descriptor is None else weakref.finalize(self, os.close, descriptor)

    @classmethod
    def of(cls, folder: Path) -> Claim | None:
        """None where another process has it.

        Raises:
            OSError: it cannot be made.
        """
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return cls(folder, is_new=is_new, descriptor=None)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # some file systems have no such locks
            os.close(descriptor)
            return cls(folder, is_new=is_new, descriptor=None)
        return cls(folder, is_new=is_new, descriptor=descriptor)

    def release(self) -> None:
        """Others may write there; where nothing was written, nothing stays."""
        if self._is_new:
            with suppress(OSError):  # as a rule, because it is not empty
                self._folder.rmdir()
        if self._let_go is not None:
            self._let_go()


def folder_for(out: Path, asked: Content, name: str = NAME) -> tuple[Path, Content | None, Claim]:
    """The folder to write into, what its file `name` already holds of this question, and the right to write there.

    `out`, unless it holds answers to something else or somebody is writing into it: then `out-2`, `out-3` and so on.
    Nothing is ever replaced.

    Raises:
        OSError: there is a file of that name, or the folder cannot be made.
    """
    folder, number = out, 2
    while True:
        _refuse_file(folder)
        if (claim := Claim.of(folder)) is not None:
            content = _read(folder / name)
            if content is not None and content[ASKED] == json.loads(json.dumps(asked)):
                return folder, content, claim
            if not (folder / name).exists():
                return folder, None, claim
            claim.release()
        folder, number = out.with_name(f"{out.resolve().name}-{number}"), number + 1


def write_json(path: Path, content: Content) -> None:
    """As a whole, or not at all: whoever is stopped in the middle leaves what was there."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content))
    os.replace(fresh, path)


def _refuse_file(folder: Path) -> None:
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
