"""How many worker processes `lexiseg serve` starts: as many as it is told, or what cores and memory are enough for."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import AUTO, Settings

CORES_EACH = 4  # a worker, which is bound by the GIL, keeps so many busy (docs/performance.md)
MAX_BY_ITSELF = 8  # workers; more brought nothing on one GPU
MAX_WORKERS = 64
# Bytes of a worker without its weights: on a GPU context and tiles of a batch, in memory libraries and pictures.
DEVICE_BYTES = 1_500_000_000
MEMORY_BYTES = 1_000_000_000


class Room(NamedTuple):
    """What workers share: cores, free bytes of memory and of a GPU (None: unknown, or no GPU), and bytes of weights."""

    cores: int
    memory: int | None
    device: int | None
    weights: int


def count(settings: Settings) -> int:
    """The number of workers in the settings; `auto` finds it out.

    Raises:
        InvalidValue: it is no such number, or as of `room`.
        ModelError: with `auto`, there is no such device or model.
    """
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
    """Look at this machine, and at the models that the settings name; imports torch.

    Raises:
        InvalidValue: a name is empty, or one model is named twice.
        ModelError: there is no such device or model.
    """
    import torch

    from lexiseg_model.catalogue import models as catalogue
    from lexiseg_model.resources.device import choose_device, cores, free_bytes
    from lexiseg_service.worker.models.served import served_models

    entries = (catalogue.find(each.name, settings.models_dir) for each in served_models(settings))
    weights = sum(map(catalogue.weight_bytes, entries))
    device, machine = choose_device(settings.device), torch.device("cpu")
    gpu = free_bytes(device) if device.type == "cuda" else None
    return Room(cores(), free_bytes(machine), gpu, weights)
