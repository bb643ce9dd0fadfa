"""What a run finds that goes on where another one ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import DatasetError


def claim(record: Path, about: Mapping[str, object], content: str, occupied: bool) -> None:
    """Record what the content of a folder depends on, or compare with the record of an earlier call.

    Args:
        record: JSON file in the folder, which is made.
        content: name of the folder's content, for messages.
        occupied: whether the folder has content.
    """
    if record.exists():
        before = json.loads(record.read_bytes())
        other = [
            f"{key} {before.get(key)!r:.80}, not {value!r:.80}"
            for key, value in about.items()
            if before.get(key) != value
        ]
        if other:
            settings = "; ".join(other)
            raise DatasetError(
                f"{record.parent} holds {content} with other settings: {settings}; choose another folder"
            )
    elif occupied:
        raise DatasetError(f"{record.parent} holds {content} without {record.name}; choose another folder")
    else:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_whole(record, json.dumps(about, indent=1).encode())


def drop_partial_line(path: Path) -> bytes:
    """The content of a file of lines, if it exists; a last line that a kill cut short is removed from the file."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return whole
