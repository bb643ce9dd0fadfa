"""Reading the next images while the model works on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")
READ_AHEAD = 2  # images


def read_ahead(items: Iterable[Item], read: Callable[[Item], Content]) -> Iterator[tuple[Item, Content]]:
    """Each item with what `read` makes of it, in order; `read` is called in other threads."""
    with ThreadPoolExecutor(READ_AHEAD, "read") as readers:
        waiting = deque[tuple[Item, Future[Content]]]()
        for item in items:
            waiting.append((item, readers.submit(read, item)))
            if len(waiting) > READ_AHEAD:
                done, content = waiting.popleft()
                yield done, content.result()
        while waiting:
            done, content = waiting.popleft()
            yield done, content.result()
