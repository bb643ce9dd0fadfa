"""Reading in threads, a few items ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")


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
