"""HTTP servers of the standard library on a free port, for the length of a block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """A handler that writes no log."""

    def log_message(self, format: str, *args: object) -> None: ...


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves the files of a folder and writes no log."""

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(handler: Callable[..., Any]) -> Iterator[str]:
    """Yield http://HOST:PORT of a server with this handler."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def serving_files(folder: Path) -> Any:
    """Serve the files of a folder; a context manager like `serving`."""
    return serving(partial(QuietFiles, directory=str(folder)))
