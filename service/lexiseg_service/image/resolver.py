"""Names of hosts to addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host and port to addresses; OSError for an unknown name


class SystemResolver:
    """The operating system's resolver, in threads of its own: slow names hold up nobody else's work.

    A look-up that is given up keeps its thread until the system gives up, too: `most` of them is for both.
    """

    def __init__(self, most: int) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        look_up = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in await look_up]
