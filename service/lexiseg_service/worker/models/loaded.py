"""A model in memory, and who works with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from lexiseg_model.lru import Lru
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.vocabulary.bank import MAX_BANKS
from lexiseg_service.watch.metrics import Metrics


class Loaded:
    """A model in memory; whoever holds it keeps it there. It keeps what it made of words lately."""

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
        """The model, for as long as the block runs."""
        self.hold()
        try:
            yield self.segmenter
        finally:
            self.release()


def let_go(load: Future[Loaded]) -> None:
    """Releases what a load brought, if it brought anything."""
    if load.exception() is None:
        load.result().release()


def give_up(model: Future[Loaded]) -> None:
    """A model that was acquired for nothing."""
    if model.done():
        model.result().release()
    else:
        model.cancel()


def show_kept(metrics: Metrics, models: Callable[[], Iterable[Loaded | None]]) -> None:
    """Show the bytes that models cache of words in the metrics; None is a model that is not loaded."""
    metrics.held("words", lambda: sum(model.segmenter.kept_bytes for model in models() if model is not None))
