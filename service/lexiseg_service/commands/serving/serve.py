"""`lexiseg serve`: a gateway and workers on one machine, joined by gRPC over Unix sockets; a trainer, if wanted."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from lexiseg_service.commands.serving import trainer, workers
from lexiseg_service.commands.serving.socket_folder import SocketFolder
from lexiseg_service.commands.serving.supervisor import Child, Supervisor
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from lexiseg_service.worker.crash_record import record_crash


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    Raises:
        InvalidValue: a setting is not as expected, or lexiseg-train is missing where there are trainings.
        ModelError: in a worker, a model is unknown, or its weights or its card are missing or damaged.
    """
    if settings.trainings is not None:
        trainer.check(settings)
    _check_phrases(settings)
    names = [f"worker-{number}" for number in range(workers.count(settings))]
    logs.configure(settings, "serve")
    sockets = SocketFolder()
    supervisor_pid = os.getpid()
    paths = [sockets.path / name for name in names]
    children = [
        Child(
            path.name,
            partial(_worker, settings, path),
            on_end=partial(_record_crash, path),
            is_lost=partial(sockets.is_lost, path),
        )
        for path in paths
    ]
    if settings.trainings is not None:
        children.append(Child("trainer", partial(trainer.run, settings), may_start=paths[0].exists))
    try:
        return Supervisor(children, Child("gateway", partial(_gateway, settings, paths))).run()
    finally:
        if os.getpid() == supervisor_pid:
            sockets.remove()


def _check_phrases(settings: Settings) -> None:
    """Raises InvalidValue: the model of phrases is not served here."""
    named, served = settings.phrases_model, settings.model_names
    if named is not None and named not in (names := {*served, *(name.partition("@")[0] for name in served)}):
        raise InvalidValue.of(
            "--phrases-model / LEXISEG_PHRASES_MODEL", named, f"one of LEXISEG_MODEL ({', '.join(sorted(names))})"
        )


def _record_crash(socket: Path, status: int) -> None:
    record_crash(socket, status, time.monotonic())


def _worker(settings: Settings, socket: Path) -> int:
    from lexiseg_service.commands.serving.worker import run

    return run(settings, socket)


def _gateway(settings: Settings, sockets: list[Path]) -> int:
    from lexiseg_service.commands.serving.gateway import run

    addresses = tuple(f"unix:{socket}" for socket in sockets)
    return run(settings.model_copy(update={"workers": addresses}), sockets)
