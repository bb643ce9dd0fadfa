"""gRPC servers that are away, slow, broken or talkative."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import trustme

from lexiseg_client import AsyncClient, Client, Retry, errors
from lexiseg_client.rpc import connections
from lexiseg_client.rpc.connections import SETTINGS
from lexiseg_client.stubs import segmentation_pb2 as pb
from tests.clients.rpc.scripted_grpc import Answer, Servicer, aborts, scripted, well
from tests.service.fleet.workers import Wire
from tests.waiting import SOON

QUICK = Retry(first_wait=0.01)
IMAGE = b"any bytes"
SIZE = pb.Size(height=4, width=4)
AWAY = aborts(grpc.StatusCode.UNAVAILABLE)


@contextmanager
def asking(servicer: Servicer, **arguments: Any) -> Iterator[Client]:
    with scripted(servicer) as target, Client(f"grpc://{target}", **arguments) as client:
        yield client


def test_a_server_that_is_away_for_a_moment_or_leaves_is_asked_again() -> None:
    servicer = Servicer(AWAY, aborts(grpc.StatusCode.CANCELLED, "CANCELLED"), well)
    with asking(servicer, retry=QUICK) as client:
        assert client.segment(IMAGE, ["sky"]).image_id == "abc"

    assert len(servicer.asked) == 3


def test_a_server_that_stays_away_is_unreachable() -> None:
    servicer = Servicer(AWAY)
    with asking(servicer, retry=Retry(most=2, first_wait=0.01)) as client, pytest.raises(errors.Unreachable):
        client.segment(IMAGE, ["sky"])

    assert len(servicer.asked) == 3


def test_tls_goes_by_a_channel_with_certificates_of_ones_own() -> None:
    authority = trustme.CA()
    with scripted(Servicer(well), authority.issue_cert("localhost")) as target:
        trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        at = target.replace("127.0.0.1", "localhost")
        with (
            grpc.secure_channel(at, trusting) as channel,
            Client(f"grpcs://{at}", api_key="secret", channel=channel) as client,
        ):
            assert client.segment(IMAGE, ["sky"]).image_id == "abc"


def test_a_server_that_says_nothing_times_out() -> None:
    over = threading.Event()

    def silent(_: Any, __: Any) -> pb.SegmentResponse:
        over.wait(30)
        return pb.SegmentResponse()

    with asking(Servicer(silent), timeout=0.3) as client:
        with pytest.raises(errors.TimedOut):
            client.segment(IMAGE, ["sky"])
        over.set()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthorized),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.TooLarge),
        (grpc.StatusCode.INTERNAL, errors.ServerFault),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ServerFault),
    ],
)
def test_a_failure_without_details_is_told_by_its_code(code: grpc.StatusCode, kind: type[errors.ProblemError]) -> None:
    servicer = Servicer(aborts(code, "said a proxy"))
    with asking(servicer, retry=QUICK) as client, pytest.raises(kind, match="said a proxy"):
        client.segment(IMAGE, ["sky"])

    assert len(servicer.asked) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        pb.SegmentResponse(),
        pb.SegmentResponse(size=SIZE, segments=[pb.Segment(id=0)]),
        pb.SegmentResponse(size=SIZE, segments=[pb.Segment(id=70_000)]),
        pb.SegmentResponse(size=SIZE, segments=[pb.Segment(id=1, mask=pb.Mask(coco_rle=pb.CocoRle(counts="088")))]),
        pb.SegmentResponse(
            size=SIZE, segments=[pb.Segment(id=1, mask=pb.Mask(polygon=pb.Polygon(rings=[pb.Ring(exterior=[1])])))]
        ),
    ],
)
def test_a_damaged_answer_is_unreadable(damaged: pb.SegmentResponse) -> None:
    with asking(Servicer(lambda _, __: damaged)) as client, pytest.raises(errors.UnreadableAnswer):
        client.segment(IMAGE, ["sky"])


def answers_then(end: Answer | None, count: int) -> Answer:
    """So many frames are answered; then the stream ends as told, or goes on.

    A stream with fewer frames ends as told, too: a client that lost the server's word asks for it without any.
    """

    def video(requests: Any, context: Any) -> Iterator[pb.SegmentVideoResponse]:
        next(requests)  # the config
        for index, _ in enumerate(requests):
            if end is not None and index == count:
                end(None, context)
            yield pb.SegmentVideoResponse(frame_id=str(index))
        if end is not None:
            end(None, context)

    return video


def test_a_stream_that_breaks_says_so_after_its_answers() -> None:
    with asking(Servicer(video=answers_then(AWAY, 2))) as client:
        stream = client.stream([IMAGE] * 5, ["sky"])
        seen = [next(stream).frame_id, next(stream).frame_id]

        with pytest.raises(errors.Unreachable):
            next(stream)

    assert seen == ["0", "1"]


def test_leaving_a_stream_tells_the_server() -> None:
    servicer = Servicer(video=answers_then(None, 0))
    with asking(servicer) as client:
        stream = client.stream(itertools.repeat(IMAGE), ["sky"])
        next(stream)
        stream.close()

        assert servicer.left.wait(SOON)


async def test_a_refused_question_is_told_as_such_however_the_frames_race_with_it() -> None:
    def video(requests: Any, context: Any) -> Iterator[pb.SegmentVideoResponse]:
        for request in requests:
            if request.config.smoothing > 1:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "smoothing")
            yield pb.SegmentVideoResponse()

    with scripted(Servicer(video=video)) as target:
        async with AsyncClient(grpc_target=target) as client:
            for _ in range(60):  # one in ten loses the race
                with pytest.raises(errors.InvalidValue):
                    await anext(client.stream([IMAGE] * 3, ["sky"], smoothing=2.0))


async def test_a_server_whose_machine_vanished_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of keepalive's minutes: it asks after a second, and a busy machine may be silent for another.
    soon = tuple((name, {60_000: 1000, 20_000: 2500}.get(value, value)) for name, value in SETTINGS)
    monkeypatch.setattr(connections, "OPTIONS", soon)
    servicer = Servicer(video=answers_then(None, 1))
    with scripted(servicer) as target:
        wire = Wire(int(target.rpartition(":")[2]))
        async with wire.laid() as address, AsyncClient(grpc_target=address) as client:

            async def frames() -> AsyncIterator[bytes]:
                yield IMAGE
                await asyncio.sleep(60)

            stream = client.stream(frames(), ["sky"])
            await anext(stream)
            wire.whole.clear()
            with pytest.raises(errors.Unreachable):
                await asyncio.wait_for(anext(stream), 20)
            wire.whole.set()
