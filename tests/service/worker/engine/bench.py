"""An engine over gated colours, and helpers to ask it."""

from concurrent.futures import Future
from typing import Any

from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from tests.service.worker.gated_colours import GatedColours, ask
from tests.waiting import SOON, until


class Bench:
    """An engine over gated colours, and how to ask it."""

    def __init__(self, segmenter: GatedColours | None = None, **settings: Any) -> None:
        self.segmenter = segmenter or GatedColours()
        self.metrics = Metrics()
        # Nothing is remembered: every request is an image pass, and these tests count them.
        wanted = Settings.model_validate({"feature_cache_bytes": 0, **settings})
        self.engine = Engine(self.segmenter, wanted, self.metrics)
        self.submit = self.engine.submit

    def hold(self) -> None:
        """Occupies the device until the gate opens."""
        self.segmenter.gate.clear()
        self.submit(ask("red"))
        assert self.segmenter.entered.acquire(timeout=SOON)

    def until_waiting(self, n: int) -> None:
        """Waits until n planned requests wait for the device."""
        until(lambda: self.metrics.registry.get_sample_value("lexiseg_queue_depth") == n)

    def line_up(self, *requests: WorkerRequest) -> list[Future[WorkerAnswer]]:
        """Submits requests of which each waits for the device before the next comes: threads decode in any order."""
        answers = []
        for place, request in enumerate(requests, 1):
            answers.append(self.submit(request))
            self.until_waiting(place)
        return answers

    def release(self) -> None:
        self.segmenter.gate.set()

    def close(self) -> None:
        """Open the gates, and end the engine."""
        self.release()
        self.segmenter.reading.set()
        self.engine.close(SOON)
