"""A gateway and workers of a newer release, over gRPC: both send fields and values that this release does not know."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_service.errors import NotReady
from lexiseg_service.fleet import failover, links
from lexiseg_service.question.messages import ExampleRegion, WorkerRequest
from lexiseg_service.question.streams import StreamQuestion, VideoFrame
from lexiseg_service.wire import messages
from lexiseg_service.worker import grpc_server
from tests.service.fleet.workers import Someone, question, started
from tests.service.gateway.known_backend import answer
from tests.service.gateway.serving import serving
from tests.service.wire.newer_release import UNKNOWN_VALUE, UNKNOWN_WORD, with_more_fields
from tests.service.wire.test_messages import REGIONS

Change = Callable[[dict[str, Any]], Mapping[str, Any]]


def newer(card: dict[str, Any]) -> Mapping[str, Any]:
    """A card with a task, a refinement, a default and fields that nobody here knows."""
    new: dict[str, Any] = {"tasks": [*card["tasks"], UNKNOWN_WORD], "refinements": [*card["refinements"], UNKNOWN_WORD]}
    return new | {"refine": UNKNOWN_WORD, "panoptic": {**card["panoptic"], "source": UNKNOWN_WORD}, UNKNOWN_WORD: [1]}


def of_other_tasks(card: dict[str, Any]) -> Mapping[str, Any]:
    return {"tasks": [UNKNOWN_WORD]}


class NewerServicer(grpc_server.Servicer):
    """Sends more fields in every message; `change` adds to each card."""

    change: Change = staticmethod(newer)

    async def Segment(self, request: pb.WorkerSegmentRequest, context: Any) -> pb.WorkerSegmentResponse:
        return with_more_fields(await super().Segment(request, context))

    async def Exemplify(self, request: pb.ExemplifyRequest, context: Any) -> pb.ExemplifyResponse:
        return with_more_fields(await super().Exemplify(request, context))

    def _status(self) -> pb.WatchStatusResponse:
        status = with_more_fields(super()._status())
        for model in status.models:
            card = json.loads(model.card)
            model.card = json.dumps(card | self.change(card))
        return status


@pytest.fixture
def newer_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = messages.encode_frame_answer
    monkeypatch.setattr(grpc_server, "Servicer", NewerServicer)
    monkeypatch.setattr(grpc_server, "encode_frame_answer", lambda *of: with_more_fields(encode(*of)))


@pytest.fixture
def newer_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((links, "encode_request"), (links, "encode_exemplify"), (failover, "encode_step")):
        encode = getattr(module, name)
        monkeypatch.setattr(module, name, lambda of, encode=encode: with_more_fields(encode(of)))


async def steps() -> AsyncIterator[StreamQuestion | VideoFrame]:
    yield StreamQuestion(question(None))
    yield VideoFrame(b"image", "1")


async def asked_for_everything(fleet: Any) -> None:
    segmented = await fleet.backend.segment(question())
    regions = tuple(ExampleRegion(region, "field") for region in REGIONS)
    exemplified = await fleet.backend.exemplify(question(regions=regions))
    frames = [each async for each in fleet.backend.stream(steps())]

    assert [segment.mask for segment in segmented.segments] == [segment.mask for segment in answer().segments]
    assert len(exemplified.rows) == len(REGIONS)
    assert [(frame.frame_id, frame.answer is not None) for frame in frames] == [("1", True)]


@pytest.mark.usefixtures("newer_worker")
async def test_a_gateway_asks_a_newer_worker() -> None:
    async with started(Someone()) as fleet:
        await asked_for_everything(fleet)
        (card,) = fleet.backend.cards()

    assert (card.tasks, card.refinements, card.refine) == (["semantic"], ["none"], "none")
    assert card.panoptic.source == "regions"


@pytest.mark.usefixtures("newer_gateway")
async def test_a_worker_answers_a_newer_gateway() -> None:
    worker = Someone()
    async with started(worker) as fleet:
        await asked_for_everything(fleet)

    assert [request.image for request in worker.asked] == [b"image"] * 2
    assert worker.frames == ["1"]


async def test_a_worker_leaves_a_question_of_a_newer_gateway_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_a_new_task(request: WorkerRequest) -> pb.WorkerSegmentRequest:
        message = messages.encode_request(request)
        message.question.task = UNKNOWN_VALUE  # type: ignore[assignment]
        return message

    monkeypatch.setattr(links, "encode_request", of_a_new_task)
    worker = Someone()
    async with started(worker) as fleet:
        with pytest.raises(NotReady, match="task 99: not known to this worker"):
            await fleet.backend.segment(question())

    assert not worker.asked


@pytest.mark.usefixtures("newer_worker")
async def test_a_gateway_is_not_ready_without_a_card_that_it_understands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NewerServicer, "change", staticmethod(of_other_tasks))
    async with started(Someone(), ready=0) as fleet:
        await fleet.until(lambda: any("cards" in problem for problem in fleet.backend.health().degraded))
        async with serving(backend=fleet.backend) as client:
            readiness = await client.get("/readyz")

    assert readiness.status_code == 503
    assert readiness.json()["detail"] == "0 of 1 workers are ready"
    assert readiness.json()["degraded"] == [
        f"worker 127.0.0.1:{fleet.servers[0].port}: its cards are not understood by this release"
    ]
