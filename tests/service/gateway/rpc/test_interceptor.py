"""Keys, limits, ids, counts and malformed messages of gRPC calls."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import SecretStr
from structlog.testing import capture_logs

from lexiseg_client.rpc.details import DETAILS
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.rpc.interceptor import address_of
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.service.gateway.known_backend import KnownBackend, SlowBackend, answer
from tests.service.gateway.rpc.calling import Gateway, calling, error_in, failure, request
from tests.service.gateway.serving import form
from tests.waiting import soon

KEYS = SecretStr(line_of("camera", "right"))
MESSAGE_BYTES, N_MESSAGES = 4 << 20, 24
SEGMENT = "/lexiseg.v1.Segmentation/Segment"
RIGHT: list[tuple[tuple[str, str], ...]] = [(("authorization", "Bearer right"),), (("x-api-key", "right"),)]
WRONG: list[tuple[tuple[str, str], ...]] = [(), (("authorization", "Bearer wrong"),), (("x-api-key", "wrong"),)]


def kind(error: grpc.aio.AioRpcError) -> str:
    return error_in(error).type


async def test_without_a_known_key_every_method_is_unauthenticated() -> None:
    backend = KnownBackend()
    async with calling(backend=backend, api_keys=KEYS) as gateway:
        for metadata in WRONG:
            segment = await failure(gateway.stub.Segment(request("sky"), metadata=metadata))
            models = await failure(gateway.stub.ListModels(pb.ListModelsRequest(), metadata=metadata))

            assert {segment.code(), models.code()} == {grpc.StatusCode.UNAUTHENTICATED}
            assert kind(segment) == kind(models) == "unauthorized"
    assert backend.asked == []


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
async def test_two_keys_in_the_metadata_are_refused(name: str) -> None:
    values = {"x-api-key": "right", "authorization": "Bearer right"}
    backend = KnownBackend()
    async with calling(backend=backend, api_keys=KEYS) as gateway:
        error = await failure(gateway.stub.Segment(request("sky"), metadata=((name, "wrong"), (name, values[name]))))

    assert (error.code(), kind(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed-request")
    assert f"`{name}` came 2 times" in (error.details() or "")
    assert backend.asked == []


async def test_rest_and_grpc_share_the_rate_of_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 200)
    async with calling(api_keys=KEYS, rate_limit=0.01) as gateway:
        rest = await gateway.rest.post("/segment", files=form("sky"), headers={"X-API-Key": "right"})
        await gateway.stub.Segment(request("sky"), metadata=RIGHT[0])
        error = await failure(gateway.stub.Segment(request("sky"), metadata=RIGHT[1]))

    assert rest.status_code == 200
    assert (error.code(), kind(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate-limited")
    status = Status.FromString(dict(error.trailing_metadata() or ())[DETAILS])
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.seconds > 50


async def test_bytes_that_are_no_message_are_a_malformed_request() -> None:
    async with calling() as gateway:
        call: Any = gateway.channel.unary_unary(SEGMENT)
        error = await failure(call(b"\xff\xff\xff"))

    assert (error.code(), kind(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed-request")


@pytest.mark.parametrize(
    ("method", "kind_of_call"),
    [
        ("/grpc.health.v1.Health/Check", "unary_unary"),
        ("/grpc.health.v1.Health/Watch", "unary_stream"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "stream_stream"),
    ],
)
async def test_bytes_that_are_no_message_of_an_open_method_are_refused_in_plain_words(
    method: str, kind_of_call: str
) -> None:
    async with calling() as gateway:
        message: Any = iter([b"\xff\xff\xff"]) if kind_of_call == "stream_stream" else b"\xff\xff\xff"
        call = getattr(gateway.channel, kind_of_call)(method)(message)
        error = await failure(call if kind_of_call == "unary_unary" else call.read())

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "bytes that are no message of this method"


async def test_a_message_over_the_limit_is_refused_before_it_is_read() -> None:
    large = pb.SegmentRequest(image=pb.Image(content=bytes(3000)))
    async with calling(limits={"max_grpc_bytes": 2000}) as gateway:
        error = await failure(gateway.stub.Segment(large))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_is_freed_with_its_call_and_not_by_a_later_collection() -> None:
    large = pb.SegmentRequest(image=pb.Image(content=bytes(MESSAGE_BYTES)))
    gc.collect()
    gc.disable()
    try:
        async with calling() as gateway:
            await failure(gateway.stub.Segment(large))
            before = psutil.Process().memory_info().rss
            for _ in range(N_MESSAGES):
                with suppress(grpc.aio.AioRpcError):  # `failure` would keep the client's copy
                    await gateway.stub.Segment(large)
            grown = psutil.Process().memory_info().rss - before
    finally:
        gc.enable()

    assert grown < N_MESSAGES / 2 * MESSAGE_BYTES


async def test_an_answer_over_the_limit_says_how_large_it_is() -> None:
    class Painter(KnownBackend):
        async def segment(self, request: WorkerRequest) -> WorkerAnswer:
            return answer(overlay=bytes(100_000))

    async with calling(backend=Painter(), limits={"max_grpc_bytes": 90_000}) as gateway:
        error = await failure(gateway.stub.Segment(request("sky")))

    assert (error.code(), kind(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "too-large")
    assert "90,000" in str(error.details())


async def test_an_unexpected_error_is_reported_without_its_message() -> None:
    backend = KnownBackend(failure=RuntimeError("secret words"))
    with capture_logs() as logs:
        async with calling(backend=backend) as gateway:
            error = await failure(gateway.stub.Segment(request("sky"), metadata=(("x-request-id", "mine"),)))

    assert (error.code(), kind(error)) == (grpc.StatusCode.INTERNAL, "internal-error")
    assert "secret" not in str(error.details())
    assert [line["request_id"] for line in logs if line["event"] == "unexpected error"] == ["mine"]


@pytest.mark.parametrize(("given", "taken"), [("mine", True), ("not mine\x7f".strip("\x7f"), False), ("", False)])
async def test_a_call_has_the_clients_request_id_or_a_new_one(given: str, taken: bool) -> None:
    backend = KnownBackend()
    async with calling(backend=backend) as gateway:
        call = gateway.stub.Segment(request("sky"), metadata=(("x-request-id", given),))
        answer = await call
        trailers = dict(await call.trailing_metadata())

    assert (answer.id == given) is taken
    assert trailers["x-request-id"] == answer.id == backend.asked[0].request_id
    assert answer.id


async def test_calls_are_counted_by_method_and_code() -> None:
    async with calling() as gateway:
        await gateway.stub.Segment(request("sky"))
        await failure(gateway.stub.Segment(request()))

        assert gateway.counted("lexiseg_grpc_requests_total", method=SEGMENT, code="OK") == 1
        # who is refused hears of it a moment before it is counted
        await soon(lambda: gateway.counted("lexiseg_grpc_requests_total", method=SEGMENT, code="INVALID_ARGUMENT") == 1)
        assert gateway.counted("lexiseg_request_failures_total", reason="other") == 1


async def test_the_client_s_deadline_ends_the_work() -> None:
    backend = SlowBackend()
    async with calling(backend=backend) as gateway:
        for seconds in (0.2, 2, 20):  # on a slow machine the first may be over before the work begins
            error = await failure(gateway.stub.Segment(request("sky"), timeout=seconds))
            if backend.reached.is_set():
                break
        await asyncio.wait_for(backend.cancelled.wait(), 10)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_work_is_cancelled_when_its_client_leaves() -> None:
    backend = SlowBackend()
    async with calling(backend=backend) as gateway:
        call = gateway.stub.Segment(request("sky"))
        asking = asyncio.ensure_future(_quietly(call))
        await backend.reached.wait()
        call.cancel()
        await asyncio.wait_for(backend.cancelled.wait(), 10)
        await asking
        await soon(lambda: gateway.counted("lexiseg_request_failures_total", reason="canceled") == 1)


async def test_a_call_is_one_line_of_the_log_without_class_names() -> None:
    with capture_logs() as logs:
        async with calling(api_keys=KEYS) as gateway:
            await gateway.stub.Segment(request("pagoda"), metadata=RIGHT[0])

    (line,) = [line for line in logs if line["event"] == "call"]
    assert (line["method"], line["code"], line["key_id"]) == (SEGMENT, "OK", "camera")
    assert "pagoda" not in str(logs)


async def test_a_call_without_a_key_is_refused_before_its_message_is_read() -> None:
    async with calling(api_keys=KEYS) as gateway:
        call: Any = gateway.channel.stream_stream(SEGMENT)()
        error = await failure(call.read())  # nothing was sent

    assert kind(error) == "unauthorized"


@pytest.mark.parametrize(("trusted", "n_clients"), [("127.0.0.1", 2), ("10.0.0.1", 1)])
async def test_a_trusted_proxy_names_the_address_that_a_call_counts_for(
    trusted: str, n_clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    backend = KnownBackend()
    async with calling(backend=backend) as gateway:
        for address in ("203.0.113.9", "203.0.113.9", "203.0.113.10"):
            await gateway.stub.Segment(request("sky"), metadata=(("x-forwarded-for", address),))

    assert len({asked.source for asked in backend.asked}) == n_clients


async def test_a_call_whose_message_does_not_come_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.rpc.interceptor.FIRST_MESSAGE_SECONDS", 0.2)
    async with calling() as gateway:
        error = await failure(empty_call(gateway).read())

    assert (error.code(), kind(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline-exceeded")
    assert "the message did not come within 0.2 seconds" in (error.details() or "")


@pytest.mark.parametrize(
    ("trusted", "prefix", "n_bytes"),
    [
        ("127.0.0.1", "0000001000", 4096),
        ("127.0.0.1", "00FFFFFFFF", 24 << 20),  # gRPC refuses it when it comes
        ("127.0.0.1", "0100001000", 24 << 20),  # compressed: nobody knows what is in it
        ("127.0.0.1", "", 24 << 20),
        ("10.0.0.1", "0000001000", 24 << 20),
    ],
)
async def test_a_message_takes_the_room_that_a_trusted_proxy_says_it_needs(
    trusted: str, prefix: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    async with calling() as gateway:
        call = empty_call(gateway, ("x-message-prefix", prefix))
        await soon(lambda: gateway.counted("lexiseg_cache_bytes", cache="requests") == n_bytes)
        call.cancel()
        await soon(lambda: gateway.counted("lexiseg_cache_bytes", cache="requests") == 0)


@pytest.mark.parametrize(
    ("metadata", "seconds"), [((), 1_000.0), ((("x-message-prefix", "0001800000"),), 0.1)], ids=["unknown", "announced"]
)
async def test_a_silent_call_gives_up_its_room_when_another_call_waits_for_it(
    metadata: tuple[tuple[str, str], ...], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.rpc.interceptor.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("lexiseg_service.gateway.rpc.interceptor.FIRST_MESSAGE_SECONDS", seconds)
    async with calling(max_bytes_in_flight=96 << 20) as gateway:
        silent = [empty_call(gateway, *metadata) for _ in range(2)]
        await soon(lambda: gateway.counted("lexiseg_cache_bytes", cache="requests") == 48 << 20)
        answer = await gateway.stub.Segment(request("sky"))
        await soon(lambda: any(call.done() for call in silent))
        (ended,) = [call for call in silent if call.done()]
        error = await failure(ended.read())
        for call in silent:
            call.cancel()

    assert answer.segments
    assert (error.code(), kind(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline-exceeded")


def empty_call(gateway: Gateway, *metadata: tuple[str, str]) -> Any:
    """A call that sends nothing."""
    return gateway.channel.stream_stream(SEGMENT)(metadata=metadata)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"), ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[2001:db8::7]:4711", "2001:db8::7"), ("unix:/tmp/socket", None), ("", None),
    ],
)  # fmt: skip
def test_a_peer_names_an_address(peer: str, address: str | None) -> None:
    assert address_of(peer) == address


async def _quietly(call: Any) -> None:
    with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call
