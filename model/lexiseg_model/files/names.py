r"""Names of files, which are bytes: at most 255, often UTF-8, perhaps hidden.

In a `str` each byte that is not UTF-8 is a lone surrogate (PEP 383), which neither UTF-8 nor XML has. Files get the
name as it came. In texts it has the form of JSON, which has an escape for it: \udce9 (`as_text`, `to_utf8`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lexiseg_labels.picture_names import is_picture_name

ESCAPE = re.compile(r"\\udc([89a-f][0-9a-f])")  # of a byte that is not UTF-8
# They would break a line in a list of names.
CONTROL = re.compile("[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")
# Names of the column that names a table's picture files, the first match counts.
COLUMNS_OF_FILES = ("image", "filepath", "file", "filename", "file_name", "image_path", "path")


def is_hidden(name: str) -> bool:
    """Whether systems hide a file of this name: theirs, or `._NAME`, in which macOS keeps what belongs to NAME."""
    return name.startswith(".")


def visible_files(folder: Path) -> list[Path]:
    """The files in a folder and below it, in order; without hidden files and folders."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        files += (Path(place, name) for name in names if not is_hidden(name))
    return sorted(file for file in files if file.is_file())


def on_one_line(name: str) -> str:
    """A name without control characters and line breaks, for files that a list names."""
    return CONTROL.sub("_", name)


def to_utf8(text: str) -> bytes:
    """A text with names in it as UTF-8; JSON that was written with `ensure_ascii=False` stays JSON."""
    return text.encode("utf-8", "backslashreplace")


def as_text(name: str) -> str:
    """A name as a text that has a form in UTF-8, for columns, protocols and pages."""
    return to_utf8(name).decode()


def from_text(text: str) -> str:
    """The name that `as_text` gives as a text."""
    return ESCAPE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def visible_in(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files: those of systems, or of a run that was killed."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; none if there is no such folder."""
    entries = visible_in(folder) if folder.is_dir() else []
    return [path for path in entries if is_picture_name(path) and path.is_file()]
