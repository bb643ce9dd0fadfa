"""A model pool whose models have known sizes and whose loads are counted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.models.pool import Loaded, ModelPool
from lexiseg_service.worker.models.served import Served
from tests.model.stand_in import ColourSegmenter, card
from tests.waiting import SOON

MODEL = 100  # bytes


class SizedColours(ColourSegmenter):
    """Colours that say how large they are."""

    def __init__(self, name: str, nbytes: int = MODEL) -> None:
        super().__init__()
        self.card = card(name=name)
        self.digest = name
        self._nbytes = nbytes

    @property
    def nbytes(self) -> int:
        return self._nbytes


class Shelf:
    """Where models are loaded from: counts the loads, and can hold them up or fail them."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = {"a": MODEL, "b": MODEL, "c": MODEL} | sizes
        self.loads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    def open_model(self, served: Served) -> Segmenter:
        self.loads.append(served.name)
        assert self.gate.wait(SOON)
        if self.failures:
            raise self.failures.pop(0)
        return SizedColours(served.name, self.sizes[served.name])

    @property
    def served(self) -> list[Served]:
        return [Served(name, card(name=name)) for name in self.sizes]


class Shop:
    """A pool over a shelf, and what its metrics say."""

    def __init__(self, shelf: Shelf, max_bytes: int | None, max_waiting: int, pause: float) -> None:
        self.shelf = shelf
        self.metrics = Metrics()
        self.pool = ModelPool(shelf.served, shelf.open_model, self.metrics, max_bytes, max_waiting, pause)

    def get(self, name: str) -> Loaded:
        return self.pool.acquire(name).result(SOON)

    def use(self, name: str) -> None:
        self.get(name).release()

    def is_at_once(self, name: str) -> bool:
        """Whether who asks for a model now need not wait for it; what comes is released."""
        asked = self.pool.acquire(name)
        at_once = asked.done()
        asked.add_done_callback(lambda done: done.result().release())
        return at_once

    @property
    def there(self) -> list[str]:
        return [card.name for card in self.pool.cards if self.pool.digest(card.name) is not None]

    def value(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, labels)


@contextmanager
def opened(
    shelf: Shelf | None = None, max_bytes: int | None = None, max_waiting: int = 32, pause: float = 60.0
) -> Iterator[Shop]:
    shop = Shop(shelf or Shelf(), max_bytes, max_waiting, pause)
    try:
        yield shop
    finally:
        shop.shelf.gate.set()
        shop.pool.close()
