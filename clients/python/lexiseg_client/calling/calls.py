"""Every call as steps for the sync and async clients, over a `Transport`: REST or gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from lexiseg_client.calling.retries import RetryPolicy
from lexiseg_client.calling.steps import Call, Wait, Work
from lexiseg_client.errors import ImageExpired, TimedOut, Unreachable
from lexiseg_client.images import ImageId, ImageLike, SentImages, Source, Upload, load
from lexiseg_client.models import Health, Model
from lexiseg_client.question.options import Classes, question_json
from lexiseg_client.segmentation import Segmentation

PROBE_INTERVAL = 0.2  # seconds
PROBE_TIMEOUT = 5.0  # seconds for one health check


class Transport(Protocol):
    """REST or gRPC. `deadline` is a time of the client's clock."""

    def segment(self, source: Source, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        """Segment an image; `question` comes from `question_json`."""
        ...

    def models(self, deadline: float) -> Call[list[Model]]:
        """List the models."""
        ...

    def model(self, name: str, deadline: float) -> Call[Model]:
        """Get one model by NAME or NAME@VERSION."""
        ...

    def health(self, timeout: float) -> Call[Health]:
        """Check the server's health once, without retries."""
        ...


class Calls:
    """All calls to one server, with an LRU of the images sent to it. Thread-safe."""

    def __init__(self, transport: Transport, policy: RetryPolicy, timeout: float) -> None:
        self._transport = transport
        self._policy = policy
        self._timeout = timeout
        self._sent = SentImages()

    def deadline(self, timeout: float | None) -> float:
        """The clock time at which a call with this timeout (seconds) ends."""
        return self._policy.clock() + self.seconds(timeout)

    def seconds(self, timeout: float | None) -> float:
        """The timeout of a call in seconds; None: the client's."""
        return self._timeout if timeout is None else timeout

    def segment(
        self, image: ImageLike, classes: Classes | None, options: Mapping[str, Any], timeout: float | None
    ) -> Call[Segmentation]:
        """See `Client.segment`."""
        deadline = self.deadline(timeout)
        question = question_json(classes, options)
        source: Source = yield Work(partial(load, image))
        if not isinstance(source, Upload):
            return (yield from self._transport.segment(source, question, deadline))
        answer = yield from self._segment(source, question, deadline)
        return replace(answer, image=image)

    def _segment(self, source: Upload, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        """Refer to an image sent before by its id; upload it again if the server no longer has it."""
        known = self._sent.find(source.digest)
        if known is not None:
            try:
                return (yield from self._transport.segment(ImageId(known), question, deadline))
            except ImageExpired:
                self._sent.forget(source.digest)
        answer = yield from self._transport.segment(source, question, deadline)
        self._sent.remember(source.digest, answer.image_id)
        return answer

    def wait_until_ready(self, timeout: float | None) -> Call[Health]:
        """See `Client.wait_until_ready`."""
        deadline = self.deadline(timeout)
        reason = "no answer yet"
        while (remaining := deadline - self._policy.clock()) > 0:
            try:
                health = yield from self._transport.health(min(PROBE_TIMEOUT, remaining))
                if health.ready:
                    return health
                reason = health.detail
            except (Unreachable, TimedOut) as error:
                reason = str(error)
            yield Wait(PROBE_INTERVAL)
        raise TimedOut(f"the server did not become ready: {reason}")
