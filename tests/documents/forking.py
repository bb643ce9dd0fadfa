"""`lexiseg` for many commands in a row: a process that has imported torch (`tests/forks.py`) forks each of them.

The command in `bin/lexiseg` (`SHIM`) hands over its arguments, folder, environment and the three standard streams, and
ends as the fork does. What runs is the real command line; only the seconds of its imports are paid once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from importlib import import_module

LOADED = (  # besides, for their seconds; commands import what they need
    "lexiseg_service.commands.segment.exports",
    "lexiseg_service.commands.segment.here",
    "lexiseg_service.commands.segment.target",
    "lexiseg_service.commands.video.run",
)
SHIM = """\
#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(asked)
    fork = int.from_bytes(server.recv(4, socket.MSG_WAITALL), "big")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(fork, number))
    code = server.recv(1)
sys.exit(code[0] if code else 125)
"""


def serve(address: str) -> None:
    """Forks for every connection, until it is terminated."""
    for name in LOADED:
        import_module(name)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen()
        os.rename(f"{address}.new", address)  # who finds it is answered
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> None:
    """One command; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    asked = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    arguments, folder, environment = json.loads(asked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)  # `multiprocessing` has put another there
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lexiseg", *arguments]
    connection.sendall(os.getpid().to_bytes(4, "big"))
    code = 1
    try:
        from lexiseg_service.cli import main

        main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([code]))
        os._exit(code)
