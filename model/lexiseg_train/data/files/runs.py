"""Long runs over files: read a few items ahead in threads, and go on where an earlier run ended."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import DatasetError

Item = TypeVar("Item")
Content = TypeVar("Content")


def claim(record: Path, about: Mapping[str, object], content: str, occupied: bool) -> None:
    """Record in a folder what its `content` depends on, or refuse it where an earlier call recorded something else."""
    if record.exists():
        before = json.loads(record.read_bytes())
        pairs = [(key, before.get(key), value) for key, value in about.items()]
        if other := "; ".join(f"{key} {was!r:.80}, not {value!r:.80}" for key, was, value in pairs if was != value):
            raise DatasetError(f"{record.parent} holds {content} with other settings: {other}; choose another folder")
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


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Content], ahead: int, threads: int | None = None
) -> Iterator[tuple[Item, Content]]:
    """Yield each item with its content, in order; at most `ahead` items are read in advance."""
    waiting: deque[tuple[Item, Future[Content]]] = deque()
    with ThreadPoolExecutor(threads, "read") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(read, item)))
                if len(waiting) > ahead:
                    earlier, content = waiting.popleft()
                    yield earlier, content.result()
            while waiting:
                earlier, content = waiting.popleft()
                yield earlier, content.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
