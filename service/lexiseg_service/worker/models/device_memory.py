"""The memory that this process holds on the devices that it computes with."""

from __future__ import annotations

import gc

import torch

from lexiseg_model.device import choose_device
from lexiseg_service.watch.metrics import Metrics


def watch_device(name: str, metrics: Metrics) -> None:
    """Has the memory of a CUDA device measured; a CPU has none of its own.

    Raises:
        OptionError: the name is no device of this machine.
    """
    device = choose_device(name)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        # Reserved and not allocated: what nobody else can have.
        metrics.gpu(str(index), lambda: torch.cuda.memory_reserved(index), lambda: torch.cuda.mem_get_info(index)[0])


def give_back() -> None:
    """Has the memory of what nobody holds any more returned now, not when it is next needed."""
    gc.unfreeze()  # a model in a reference cycle is found only among what is not frozen
    gc.collect()
    gc.freeze()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
