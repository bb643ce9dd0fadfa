"""The calls over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from lexiseg_client.answers.models import Health, Model
from lexiseg_client.answers.segmentation import Segmentation
from lexiseg_client.calling.retries import Patience, patiently
from lexiseg_client.calling.steps import Call, Invoke
from lexiseg_client.errors import Problem, ProblemError, UnknownModel
from lexiseg_client.pictures.images import Source
from lexiseg_client.rpc import reading
from lexiseg_client.rpc.asking import segment_request
from lexiseg_client.stubs import segmentation_pb2 as pb

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status = SERVING


class GrpcWire:
    """See `wire.Wire`."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def segment(self, source: Source, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """Segmentation.Segment."""
        attempt = partial(Invoke, "Segment", segment_request(source, question))
        return patiently(attempt, reading.segmentation, self._patience, until, repeatable=True)

    def models(self, until: float) -> Call[list[Model]]:
        """Segmentation.ListModels."""
        attempt = partial(Invoke, "ListModels", pb.ListModelsRequest())
        return patiently(attempt, reading.models, self._patience, until, repeatable=True)

    def model(self, name: str, until: float) -> Call[Model]:
        """One of the list."""
        models = yield from self.models(until)
        for model in models:
            if name in (model.name, f"{model.name}@{model.version}"):
                return model
        there = ", ".join(model.name for model in models)
        raise UnknownModel(Problem("unknown-model", "No such model", 404, f"no model {name!r} here; there is: {there}"))

    def reach(self, until: float) -> Call[None]:
        """Waits until somebody answers, whatever it says: what follows finds an open connection."""
        with suppress(ProblemError):
            yield from patiently(partial(Invoke, "Check", b""), bytes, self._patience, until, repeatable=True)

    def health(self, timeout: float) -> Call[Health]:
        """grpc.health.v1.Health.Check of the whole server."""
        answer: bytes = yield Invoke("Check", b"", timeout)
        ready = answer == SERVING
        return Health(alive=True, ready=ready, detail="serving" if ready else "not serving")
