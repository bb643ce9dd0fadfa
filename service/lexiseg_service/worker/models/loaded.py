"""A model in memory and its holders, and the memory of devices."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import torch

from lexiseg_model.device import choose_device
from lexiseg_model.lru import Lru
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.vocabulary.bank import MAX_BANKS
from lexiseg_service.watch.metrics import Metrics


class Loaded:
    """A model in memory, which stays there while it has holders, with its caches of banks."""

    def __init__(self, segmenter: Segmenter, nbytes: int, changed: threading.Condition) -> None:
        self.segmenter = segmenter
        segmenter.banks = segmenter.banks or Lru(MAX_BANKS)
        self.nbytes = nbytes
        self.holders = 0
        self.last_used = time.monotonic()
        self._changed = changed

    def hold(self) -> None:
        with self._changed:
            self.holders += 1

    def release(self) -> None:
        with self._changed:
            self.holders -= 1
            self.last_used = time.monotonic()
            if not self.holders:
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[Segmenter]:
        """The model, held for as long as the block runs."""
        self.hold()
        try:
            yield self.segmenter
        finally:
            self.release()


def give_up(model: Future[Loaded]) -> None:
    """Release a model, or stop waiting for it."""
    if not model.done():
        model.cancel()
    elif model.exception() is None:
        model.result().release()


def show_cache_bytes(metrics: Metrics, models: Callable[[], Iterable[Loaded | None]]) -> None:
    """Report in the metrics the bytes of the models' caches; None is a model that is not loaded."""
    metrics.held("words", lambda: sum(model.segmenter.kept_bytes for model in models() if model is not None))


def watch_device(name: str, metrics: Metrics) -> None:
    """Report in the metrics the memory of a CUDA device.

    Raises:
        OptionError: the name is no device of this machine.
    """
    device = choose_device(name)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        # Reserved and not allocated: no other process can have it.
        metrics.gpu(str(index), lambda: torch.cuda.memory_reserved(index), lambda: torch.cuda.mem_get_info(index)[0])


def return_memory() -> None:
    """Return the memory of released models to the system now, not when it is next needed."""
    gc.unfreeze()  # a model in a reference cycle is found only among what is not frozen
    gc.collect()
    gc.freeze()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
