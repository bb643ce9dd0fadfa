"""Every call as steps for the sync and async clients, over REST or gRPC."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from lexiseg_client.address import Address, read_address
from lexiseg_client.calling.mapping import IMAGE_ERRORS, MapPlan
from lexiseg_client.calling.steps import Call, Retry, Wait, Work
from lexiseg_client.errors import LASTING, ImageExpired, TimedOut, Unreachable
from lexiseg_client.images import BinaryFile, ImageId, ImageLike, Source, Upload, load
from lexiseg_client.question import Classes, question_json
from lexiseg_client.rest import Health, RestTransport
from lexiseg_labels.segmentation import Segmentation

if TYPE_CHECKING:
    from lexiseg_client.rpc.connections import GrpcTransport  # gRPC is optional

TIMEOUT = 60.0  # seconds; a server's own deadline is half of it
MAX_TIMEOUT = 1e7  # seconds: longer ones overflow in the system's calls
MAX_SENT = 4096  # images with ids that are kept
PROBE_INTERVAL = 0.2  # seconds
PROBE_TIMEOUT = 5.0  # seconds for one health check


class Calls:
    """All calls to one server, with the ids of images sent to it. Thread-safe. Arguments as for `Client`."""

    def __init__(
        self, url: str | None, grpc_target: str | None, api_key: str | None, timeout: float, retry: Retry | None
    ) -> None:
        self.address: Address = read_address(url, grpc_target, api_key)
        if not isinstance(retry, Retry | None):
            raise TypeError(f"retry: expected a Retry, as Retry(most=3), got {retry!r}")
        self._retry = retry or Retry()
        self.rest: RestTransport = RestTransport(self._retry)  # for vocabularies and jobs, which gRPC does not have
        self.transport: RestTransport | GrpcTransport = self.rest if self.address.protocol == "rest" else self._grpc()
        self._timeout = _seconds(timeout)
        self._image_ids: dict[str, str] = {}  # digest of an upload to the id of its image

    def _grpc(self) -> GrpcTransport:
        from lexiseg_client.rpc.connections import GrpcTransport  # gRPC is optional

        return GrpcTransport(self._retry)

    def deadline(self, timeout: float | None) -> float:
        """The clock time at which a call with this timeout (seconds) ends."""
        return time.monotonic() + (self._timeout if timeout is None else _seconds(timeout))

    def segment(
        self, image: ImageLike, classes: Classes | None, options: Mapping[str, Any], timeout: float | None
    ) -> Call[Segmentation]:
        deadline = self.deadline(timeout)
        question = question_json(classes, options)
        source: Source = yield Work(partial(load, image))
        if isinstance(source, Upload):
            answer = yield from self._segment(source, question, deadline)
            return replace(answer, image=source.content if isinstance(image, BinaryFile | memoryview) else image)
        answer = yield from self.transport.segment(source, question, deadline)
        return replace(answer, image=image.image) if isinstance(image, Segmentation) else answer

    def _segment(self, source: Upload, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        """Refer to an image sent before by its id; upload it again if the server no longer has it."""
        if (image_id := self._image_ids.get(source.digest)) is not None:
            try:
                return (yield from self.transport.segment(ImageId(image_id), question, deadline))
            except ImageExpired:
                self._image_ids.pop(source.digest, None)
        answer = yield from self.transport.segment(source, question, deadline)
        if len(self._image_ids) >= MAX_SENT:
            self._image_ids.clear()  # a server keeps far fewer images
        self._image_ids[source.digest] = answer.image_id
        return answer

    def outcome(self, image: ImageLike, classes: Classes | None, plan: MapPlan) -> Call[Segmentation | Exception]:
        """One answer of `Client.map`: with on_error="return" an error is the result."""
        try:
            return (yield from self.segment(image, classes, plan.options, plan.timeout))
        except IMAGE_ERRORS as error:
            if plan.on_error == "raise":
                raise
            return error

    def health(self, timeout: float | None) -> Call[Health]:
        return self.transport.health(PROBE_TIMEOUT if timeout is None else timeout)

    def connect(self, timeout: float | None, has_channel: bool) -> Call[None]:
        """Connect by gRPC, for a stream; the server is asked for its port unless the caller brought a channel."""
        deadline = self.deadline(timeout)
        if self.address.is_target_guessed and not has_channel:
            port = yield from self.rest.grpc_port(deadline)
            self.address = self.address if port is None else self.address.with_grpc_port(port)
        yield from self._grpc().connect(deadline)

    def wait_until_ready(self, timeout: float | None) -> Call[Health]:
        deadline = self.deadline(timeout)
        reason = "no answer yet"
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                health = yield from self.transport.health(min(PROBE_TIMEOUT, remaining))
                if health.ready:
                    return health
                reason = health.detail
            except LASTING:
                raise
            except (Unreachable, TimedOut) as error:
                reason = str(error)
            yield Wait(PROBE_INTERVAL)
        raise TimedOut(f"the server did not become ready: {reason}")


def _seconds(timeout: float) -> float:
    """A timeout. Raises TypeError, ValueError: it is no number of seconds."""
    if not isinstance(timeout, Real):
        raise TypeError(f"timeout: expected seconds, as 10.0, got {timeout!r}")
    if not 0 <= timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout: expected seconds from 0 to {MAX_TIMEOUT:g}, got {timeout}")
    return float(timeout)
