"""Servers that are busy, broken, slow, elsewhere, or no lexiseg at all."""

import asyncio
import pickle
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lexiseg_client import (
    AsyncClient,
    Client,
    NoServer,
    ProblemError,
    RateLimited,
    Retry,
    TimedOut,
    Unauthorized,
    Unreachable,
    UnreadableAnswer,
)
from lexiseg_client.address import read_address
from lexiseg_service.gateway.rest.openapi import SEGMENT
from tests import pictures
from tests.clients.conftest import KEY, taken
from tests.clients.scripted_server import MODELS, Say, scripted
from tests.integration.server import Server
from tests.service.gateway.serving import Ports
from tests.waiting import SOON

IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
QUICK = Retry(first_wait=0.01)
CLOSED = Say(0)


def test_a_connection_that_breaks_is_tried_again() -> None:
    with scripted(CLOSED, Say(200, MODELS)) as script, Client(script.url, retry=QUICK) as client:
        assert client.models()[0].name == "tiny"


def test_a_write_whose_answer_was_lost_is_not_done_twice() -> None:
    with scripted(CLOSED) as script, Client(script.url, retry=QUICK) as client, pytest.raises(Unreachable):
        client.vocabularies.put("room", ["floor"], create_only=True)

    assert len(script.asked) == 1


def test_nobody_home_is_not_waited_for_any_longer(dead: str) -> None:
    with Client(f"http://{dead}", timeout=0.3) as client, pytest.raises(TimedOut, match="did not become ready"):
        client.wait_until_ready()


def test_a_server_behind_a_proxy_is_waited_for() -> None:
    away = Say(503, b"<h1>503 Service Unavailable</h1>", content_type="text/html")
    alive = Say(200, {"status": "alive", "detail": ""})
    ready = Say(200, {"status": "ready", "detail": ""})

    with scripted(away, away, alive, ready) as script, Client(script.url) as client:
        assert client.wait_until_ready(timeout=SOON).ready


def test_a_server_that_says_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with Client(url, timeout=0.2) as client, pytest.raises(TimedOut):
            client.models()


@pytest.mark.parametrize(
    "say",
    [
        Say(200, b"<h1>It works!</h1>", content_type="text/html"), Say(200, ["models"]), Say(200, {"items": []}),
        Say(200, {"models": [{"name": "tiny"}]}), Say(200, b"{", headers={"Content-Encoding": "gzip"}),
    ],
)  # fmt: skip
def test_another_kind_of_server_is_recognised(say: Say) -> None:
    with scripted(say) as script, Client(script.url) as client, pytest.raises(UnreadableAnswer):
        client.models()


def test_members_of_a_later_version_are_left_alone() -> None:
    later = {**SEGMENT, "weather": "fine", "timings_ms": {**SEGMENT["timings_ms"], "travel": 1.0}}
    with scripted(Say(200, later)) as script, Client(script.url) as client:
        assert len(client.segment(IMAGE, ["sky"])) == 1


def test_a_client_shows_no_key(server: Server) -> None:
    with Client(server.url, api_key="secret") as client:
        assert "secret" not in repr(vars(client))


@pytest.fixture(params=["rest", "grpc"])
def narrow(request: pytest.FixtureRequest, narrow_server: Ports) -> str:
    """The address of the narrow server, by either protocol."""
    return narrow_server.url if request.param == "rest" else f"grpc://{narrow_server.grpc}"


def test_keys_open_the_door(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (None, "wrong"):
        with Client(narrow, api_key=key) as client, pytest.raises(Unauthorized):
            client.segment(IMAGE, ["sky"])
    with Client(narrow, api_key=KEY) as client:
        assert client.segment(IMAGE, ["sky"]).image_id
    monkeypatch.setenv("LEXISEG_API_KEY", KEY)
    with Client(narrow) as client:
        assert client.models()


def test_many_threads_of_one_client_are_all_served_by_a_narrow_server(
    narrow: str, narrow_server: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []
    with taken(narrow_server) as free:
        with Client(narrow, api_key=KEY, retry=Retry(most=0)) as client, pytest.raises(RateLimited, match="its limit"):
            client.segment(IMAGE, ["sky"])

        def wait(rule: Retry, attempt: int, retry_after: float | None, jitter: float) -> float:
            waits.append(retry_after)
            free.set()
            return 0.05

        monkeypatch.setattr(Retry, "wait", wait)
        with Client(narrow, api_key=KEY, retry=Retry(most=1000)) as client, ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: client.segment(IMAGE, ["sky"]), range(3)))

    assert len(answers) == 3
    assert 1.0 in waits


async def test_a_client_and_its_errors_can_be_pickled(server: Server) -> None:
    with Client(server.url, api_key=KEY) as client, pickle.loads(pickle.dumps(client)) as other:
        assert other.segment(IMAGE, ["sky"]).segments == client.segment(IMAGE, ["sky"]).segments
        assert [model.name for model in other.models()] == ["tiny"]
    async with AsyncClient(server.url) as client_async:
        await client_async.models()
        async with pickle.loads(pickle.dumps(client_async)) as other_async:
            assert [room.name for room in await other_async.vocabularies.list()]

    error = pickle.loads(pickle.dumps(NoServer("away", is_sent=False)))
    assert (str(error), error.is_sent) == ("away", False)
    with httpx.Client() as http, pytest.raises(TypeError, match="`http`"):
        pickle.dumps(Client(server.url, http=http))


AFTER_A_FORK = """
import logging, os, sys
from lexiseg_client import Client
with Client(sys.argv[1]) as client:
    client.models()
    if os.fork() == 0:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
        client.models()
        sys.exit()
    os.wait()
"""


def test_a_process_shares_no_connection_with_the_one_that_it_was_forked_from(server: Server) -> None:
    run = subprocess.run(
        [sys.executable, "-c", AFTER_A_FORK, server.url], stdout=subprocess.PIPE, text=True, check=True
    )

    assert "connect_tcp.started" in run.stdout


async def test_the_awaited_client_gives_the_same_answers(server: Server) -> None:
    with Client(server.url) as client:
        alone = client.segment(IMAGE, ["sky", "building"])
    async with AsyncClient(server.url) as client_async:
        answers = await asyncio.gather(*(client_async.segment(IMAGE, ["sky", "building"]) for _ in range(4)))
        health, models = await asyncio.gather(client_async.health(), client_async.models())
        room = await client_async.vocabularies.put("awaited-room", ["floor"])
        listed = await client_async.vocabularies.list()
        got = await client_async.vocabularies.get("awaited-room")
        await client_async.vocabularies.delete("awaited-room", if_match=room.etag)

    assert all(answer.segments == alone.segments for answer in answers)
    assert (health.ready, models[0].name) == (True, "tiny")
    assert got == room
    assert "awaited-room" in {entry.name for entry in listed}


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://masks:8000/v1/", "http://masks:8000"),
        ("https://example.org/lexiseg/v1", "https://example.org/lexiseg"),
        ("masks:50051/v1", "grpc://masks:50051"),
    ],
)
def test_an_address_may_end_in_the_version_of_the_interface(url: str, base: str) -> None:
    assert read_address(url, None, None).url == base


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_address(None, None, None).url == "http://localhost:8000"
    monkeypatch.setenv("LEXISEG_BASE_URL", "https://masks.example.org/")
    monkeypatch.setenv("LEXISEG_API_KEY", "secret")

    assert read_address(None, None, None).url == "https://masks.example.org"
    assert read_address(None, None, None).headers == {"Authorization": "Bearer secret"}
    assert read_address("http://other:1", None, None).url == "http://other:1"
    with scripted(Say(200, {"models": []})) as script:
        monkeypatch.setenv("LEXISEG_BASE_URL", script.url)
        with Client() as client:
            client.models()
        assert script.asked


def test_a_server_that_has_moved_is_an_error_with_its_new_address() -> None:
    moved = Say(301, headers={"Location": "https://masks.example.org/lexiseg/v1/models"})
    with (
        scripted(moved) as script,
        Client(script.url) as client,
        pytest.raises(ProblemError, match=r"redirects to https://masks\.example\.org/lexiseg: write the right address"),
    ):
        client.models()
