"""Every call as steps, which both clients carry out, and the protocol under them: REST or gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from lexiseg_client.calling.retries import Patience
from lexiseg_client.calling.steps import Call, Wait, Work
from lexiseg_client.errors import ImageExpired, TimedOut, Unreachable
from lexiseg_client.images import ImageId, ImageLike, SentImages, Source, Upload, load
from lexiseg_client.models import Health, Model
from lexiseg_client.question.options import Classes, question_json
from lexiseg_client.segmentation import Segmentation

BETWEEN_PROBES = 0.2  # seconds
PROBE = 5.0  # seconds that one look at a server's health may take


class Wire(Protocol):
    """REST or gRPC. `until` is a time of the client's clock."""

    def segment(self, source: Source, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """Asks once about an image; `question` as made by `question_json`."""
        ...

    def models(self, until: float) -> Call[list[Model]]:
        """The models that a question may name."""
        ...

    def model(self, name: str, until: float) -> Call[Model]:
        """One of them."""
        ...

    def health(self, timeout: float) -> Call[Health]:
        """One look at the server, without retries."""
        ...


class Calls:
    """One server's calls. Remembers what was sent to it; for many threads."""

    def __init__(self, wire: Wire, patience: Patience, timeout: float) -> None:
        self._wire = wire
        self._patience = patience
        self._timeout = timeout
        self._sent = SentImages()

    def until(self, timeout: float | None) -> float:
        """The clock's time at which a call of so many seconds ends."""
        return self._patience.clock() + self.seconds(timeout)

    def seconds(self, timeout: float | None) -> float:
        """Seconds that a call may take; None is the client's own timeout."""
        return self._timeout if timeout is None else timeout

    def segment(
        self, image: ImageLike, classes: Classes | None, options: Mapping[str, Any], timeout: float | None
    ) -> Call[Segmentation]:
        """See `Client.segment`."""
        until = self.until(timeout)
        question = question_json(classes, options)
        source: Source = yield Work(partial(load, image))
        if not isinstance(source, Upload):
            return (yield from self._wire.segment(source, question, until))
        answer = yield from self._segment(source, question, until)
        return replace(answer, image=image)

    def _segment(self, source: Upload, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """By the server's image id, if the image was sent before."""
        known = self._sent.find(source.digest)
        if known is not None:
            try:
                return (yield from self._wire.segment(ImageId(known), question, until))
            except ImageExpired:
                self._sent.forget(source.digest)
        answer = yield from self._wire.segment(source, question, until)
        self._sent.remember(source.digest, answer.image_id)
        return answer

    def models(self, timeout: float | None) -> Call[list[Model]]:
        """See `Client.models`."""
        return self._wire.models(self.until(timeout))

    def model(self, name: str, timeout: float | None) -> Call[Model]:
        """See `Client.model`."""
        return self._wire.model(name, self.until(timeout))

    def health(self, timeout: float | None) -> Call[Health]:
        """See `Client.health`."""
        return self._wire.health(PROBE if timeout is None else timeout)

    def wait_until_ready(self, timeout: float | None) -> Call[Health]:
        """See `Client.wait_until_ready`."""
        until = self.until(timeout)
        seen = "nothing answered yet"
        while (left := until - self._patience.clock()) > 0:
            try:
                health = yield from self._wire.health(min(PROBE, left))
                if health.ready:
                    return health
                seen = health.detail
            except (Unreachable, TimedOut) as error:
                seen = str(error)
            yield Wait(BETWEEN_PROBES)
        raise TimedOut(f"the server did not become ready: {seen}")
