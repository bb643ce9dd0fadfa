"""Gateways and workers with real certificates and tokens, over real connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.worker_pb2_grpc import WorkerStub
from lexiseg_service.commands.options import settings_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.streams import StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.messages import encode_request
from lexiseg_service.wire.server import gateway_options
from lexiseg_service.wire.trust import TOKEN, Trust
from lexiseg_service.worker.grpc_server import worker_server
from tests.service.fleet.workers import Someone, question, started
from tests.service.gateway.known_backend import answer

SECRET = "a token of more than sixteen"
SECONDS = 10.0
WORKER = "lexiseg-worker"


class Authority:
    """Signs certificates into folders, one a name, as LEXISEG_WORKER_TLS wants them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()

    def settings_of(self, name: str, trusts: "Authority | None" = None) -> dict[str, Any]:
        """Settings of a gateway or worker with a DNS name in its certificate; it may trust another authority."""
        issued = self._authority.issue_cert(name)
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (trusts or self)._authority.cert_pem.write_to_path(folder / "ca.crt")
        (folder / "tls.crt").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(folder / "tls.key")
        return {"worker_tls": folder}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def strangers(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs")


async def test_a_gateway_and_a_worker_that_trust_each_other_work_together(authority: Authority) -> None:
    theirs = {**authority.settings_of(WORKER), "worker_token": SECRET}
    own = {**authority.settings_of("lexiseg-gateway"), "worker_token": SECRET}
    worker = Someone()
    async with started(worker, theirs=theirs, own=own) as fleet:

        async def steps() -> AsyncIterator[StreamQuestion | VideoFrame]:
            yield StreamQuestion(question(None))
            yield VideoFrame(b"frame", "1", 0)

        got = await fleet.backend.segment(question())
        frames = [frame async for frame in fleet.backend.stream(steps())]

    assert got.model == answer().model
    assert [frame.frame_id for frame in frames] == ["1"]
    assert worker.asked


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[tuple[str, Someone]]:
    """A worker's address, and who answers there."""
    worker = Someone()
    server = worker_server(worker, Settings(worker_port=0, drain_seconds=1, **settings), Metrics())
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}", worker
    finally:
        await server.close()


async def code_of_a_call(address: str, **settings: Any) -> grpc.StatusCode:
    """What becomes of a gateway's question."""
    trust = Trust.from_settings(Settings(**settings))
    async with trust.channel(address, gateway_options()) as channel:
        call = WorkerStub(channel).Segment(encode_request(question()), timeout=SECONDS, metadata=trust.metadata)
        return await call.code()


@pytest.mark.parametrize("stranger", ["a gateway without a certificate", "a gateway", "a worker"])
async def test_without_certificates_of_one_authority_nothing_is_asked(
    stranger: str, authority: Authority, strangers: Authority
) -> None:
    theirs = authority.settings_of(WORKER)
    own = authority.settings_of("lexiseg-gateway")
    if stranger == "a worker":  # it would take the gateway; the gateway does not take it
        theirs = strangers.settings_of(WORKER, trusts=authority)
    else:  # it trusts the worker; the worker does not trust it
        own = strangers.settings_of("lexiseg-gateway", trusts=authority) if stranger == "a gateway" else {}
    async with listening(**theirs) as (address, worker):
        assert await code_of_a_call(address, **own) is grpc.StatusCode.UNAVAILABLE
        assert not worker.asked


@pytest.mark.parametrize("shown", [{}, {"worker_token": SECRET[:-1] + "!"}, {"worker_token": SECRET + "!"}])
async def test_a_wrong_token_is_refused_whatever_is_asked(shown: dict[str, Any]) -> None:
    async with listening(worker_token=SECRET) as (address, worker):
        trust = Trust.from_settings(Settings(**shown))
        async with trust.channel(address, gateway_options()) as channel:
            stub = WorkerStub(channel)
            watching = stub.WatchStatus(pb.WatchStatusRequest(), timeout=SECONDS, metadata=trust.metadata)
            streaming = stub.SegmentVideo(timeout=SECONDS, metadata=trust.metadata)
            assert await watching.code() is grpc.StatusCode.UNAUTHENTICATED
            assert await streaming.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await code_of_a_call(address, **shown) is grpc.StatusCode.UNAUTHENTICATED
        assert not worker.asked


async def test_a_probe_asks_a_workers_health_without_the_token() -> None:
    async with listening(worker_token=SECRET) as (address, _), grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = await stub.Check(health_pb2.HealthCheckRequest())

    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_the_token_is_shown_nowhere() -> None:
    settings = Settings(worker_token=SECRET)

    assert SECRET not in repr(settings)
    assert Trust.from_settings(settings).metadata == ((TOKEN, SECRET),)


def test_a_token_that_could_be_guessed_is_refused_and_not_printed() -> None:
    with pytest.raises(InvalidValue, match="LEXISEG_WORKER_TOKEN") as refusal:
        settings_of({"worker_token": "short"})

    assert "short" not in str(refusal.value).replace("shorter", "")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("ca.crt", None, "a file ca.crt that can be read"),
        ("tls.key", None, "a file tls.key that can be read"),
        ("tls.key", "another's", "a certificate in PEM, and in .* its key"),
        ("ca.crt", "nonsense", "certificates in PEM"),
        ("tls.crt", "nonsense", "a certificate in PEM"),
    ],
)
def test_certificates_that_do_not_fit_are_refused_at_the_start(
    authority: Authority, file: str, content: str | None, expected: str
) -> None:
    settings = authority.settings_of("damaged")
    damaged = settings["worker_tls"] / file
    if content is None:
        damaged.unlink()
    elif content == "another's":
        damaged.write_bytes((authority.settings_of("another")["worker_tls"] / file).read_bytes())
    else:
        damaged.write_text(f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")

    with pytest.raises(InvalidValue, match=f"LEXISEG_WORKER_TLS: expected {expected}"):
        Trust.from_settings(Settings(**settings))
