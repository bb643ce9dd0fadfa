"""`lexiseg serve`: a gateway and workers on one machine, joined by gRPC over Unix sockets; a trainer, if wanted."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from lexiseg_service.commands.serving import trainer
from lexiseg_service.commands.serving.socket_folder import SocketFolder
from lexiseg_service.commands.serving.supervisor import Child, Supervisor
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import AUTO, Settings
from lexiseg_service.watch import logs
from lexiseg_service.worker.crash_record import record_crash

CORES_EACH = 4  # a worker, which is bound by the GIL, keeps so many busy (docs/performance.md)
MAX_BY_ITSELF = 8  # workers; more brought nothing on one GPU
MAX_WORKERS = 64
# Bytes of a worker without its weights: on a GPU context and tiles of a batch, in memory libraries and pictures.
DEVICE_BYTES = 1_500_000_000
MEMORY_BYTES = 1_000_000_000


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status."""
    if settings.trainings is not None:
        trainer.check(settings)
    _check_phrases(settings)
    names = [f"worker-{number}" for number in range(count(settings))]
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


class Room(NamedTuple):
    """What workers share: cores, free bytes of memory and of a GPU (None: unknown, or no GPU), and bytes of weights."""

    cores: int
    memory: int | None
    device: int | None
    weights: int


def count(settings: Settings) -> int:
    """The number of workers in the settings; `auto` finds it out. Raises InvalidValue: it is no such number."""
    match settings.workers:
        case ():
            return 1
        case (number,) if number == AUTO:
            # In a process of its own: it imports torch, which would be in every fork of this one.
            with ProcessPoolExecutor(1, get_context("fork")) as processes:
                return fitting(processes.submit(room, settings).result())
        case (number,) if number.isdecimal() and 1 <= int(number) <= MAX_WORKERS:
            return int(number)
    expected = f"1 to {MAX_WORKERS} worker processes, or {AUTO}"
    raise InvalidValue.of("--workers / LEXISEG_WORKERS", ",".join(settings.workers), expected)


def fitting(room: Room) -> int:
    """The number of workers that cores and memory are enough for; one at least.

    Each holds the weights on its device: a GPU's memory, or else the machine's.
    """
    weights = room.weights if room.device is None else 0
    limits = [room.cores // CORES_EACH, MAX_BY_ITSELF]
    limits += [] if room.memory is None else [room.memory // (MEMORY_BYTES + weights)]
    limits += [] if room.device is None else [room.device // (DEVICE_BYTES + room.weights)]
    return max(1, min(limits))


def room(settings: Settings) -> Room:
    """Look at this machine, and at the models that the settings name; imports torch."""
    import torch

    from lexiseg_model.catalogue import models as catalogue
    from lexiseg_model.resources.device import choose_device, cores, free_bytes
    from lexiseg_service.worker.models.served import served_models

    entries = (catalogue.find(each.name, settings.models_dir) for each in served_models(settings))
    weights = sum(map(catalogue.weight_bytes, entries))
    device, machine = choose_device(settings.device), torch.device("cpu")
    gpu = free_bytes(device) if device.type == "cuda" else None
    return Room(cores(), free_bytes(machine), gpu, weights)
