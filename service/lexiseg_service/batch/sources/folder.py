"""Pictures in a folder or below a prefix of an object store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_service.batch.sources.source import Listed


def in_folder(store: Any, root: str) -> Iterator[Listed]:
    """The pictures in a folder and below it, without hidden ones; name and place are the path from the folder.

    Raises:
        OSError: it cannot be listed.
    """
    for inside, _, names in store.walk(root):
        for name in sorted(names):
            path = f"{inside}/{name}"[len(root) :].lstrip("/")
            if is_picture_name(name) and not any(map(is_hidden, path.split("/"))):
                yield Listed(as_text(path), path)
