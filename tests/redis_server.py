"""A real redis-server of one test, and a proxy in front of it that delays or talks nonsense."""

import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import redis

from loadtests.ports import free_port

TO_START = 20.0  # seconds; it needs a hundredth


class RedisServer:
    """Started on a free port, without a disk; a `durable` one has what it was told before it was killed."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._appendonly = "yes" if durable else "no"
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", self._appendonly]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + TO_START
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    assert self._process.poll() is None, "redis-server has ended"
                    time.sleep(0.02)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(TO_START)


class Proxy:
    """Forwards to a port; `mode` and `delay` may change at any time. `calls` counts what clients have sent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.mode: Literal["forward", "nonsense"] = "forward"
        self.delay = 0.0
        self.calls = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while sent := client.recv(65536):
                self.calls += 1
                time.sleep(self.delay)
                if self.mode == "nonsense":
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                else:
                    server.sendall(sent)
            server.shutdown(socket.SHUT_RDWR)

    def _pump(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65536):
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)
