"""A small real HTTP server that answers what it is told, for what a healthy lexiseg never answers."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import SOON

MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "tiny", "version": "1", "summary": "", "tasks": ["semantic"], "licence": "", "digest": None,
            "loaded": True,
        }
    ]
}  # fmt: skip
VOCABULARY: dict[str, Any] = {
    "name": "room",
    "n_classes": 1,
    "background": {"threshold": 0.4, "words": ["wall"]},
    "built_in": False,
    "source": None,
    "shared": True,
    "own": True,
    "classes": [{"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}],
}


@dataclass(frozen=True)
class Say:
    """One answer. Status 0 closes the connection instead."""

    status: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass
class Script:
    """What to say, in order, the last again and again; and what was asked, as (method, path, headers)."""

    url: str
    answers: list[Say]
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


def busy(seconds: int = 0) -> Say:
    """A full queue."""
    problem = {"type": "queue-full", "title": "Too many", "status": 429, "detail": "63 are waiting"}
    return Say(429, problem, {"Retry-After": str(seconds)}, "application/problem+json")


@contextmanager
def scripted(*answers: Say, tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """Serves on a free port until the block ends, by TLS if given."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append((self.command, self.path, headers))
            say = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            self.close_connection = True
            if say.status == 0:
                return
            body = say.body if isinstance(say.body, bytes) else json.dumps(say.body).encode()
            self.send_response(say.status)
            for name, value in {"Content-Type": say.content_type, **say.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        script = Script(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}", list(answers))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join(SOON)
