"""A real redis-server of one test, and a proxy in front of it that may talk nonsense."""

import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

import redis

from loadtests.ports import free_port
from tests.waiting import SOON, until


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
        with redis.Redis(port=self.port) as client:
            until(lambda: self._answers(client), told=lambda: "redis-server does not answer")

    def _answers(self, client: redis.Redis) -> bool:
        assert self._process.poll() is None, "redis-server has ended"
        with suppress(redis.RedisError):
            return bool(client.ping())
        return False

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(SOON)


class Proxy:
    """Forwards to a port; `mode` may change at any time. `calls` counts what clients have sent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.mode: Literal["forward", "nonsense"] = "forward"
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
