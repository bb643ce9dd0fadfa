"""The end of a job is told to its webhook, signed, until it is taken; and shown as server-sent events."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lexiseg_service.batch.http import notices
from lexiseg_service.batch.ledger.job import HOLDER, Ledger
from lexiseg_service.records.sqlite import FILE, SqliteStore
from lexiseg_service.settings import Settings
from tests.http_server import Quiet, serving
from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.waiting import until

SECRET = "a secret of the receiver"
ARCHIVE = zipped({"a.png": PNG, "b.png": PNG})


class Receiver:
    """Takes notices with the statuses that it is given, the last one again and again."""

    def __init__(self, *statuses: int) -> None:
        self.notices: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = statuses[min(len(receiver.notices), len(statuses) - 1)]
                receiver.notices.append((headers, body))
                self.send_response(status)
                self.end_headers()

        self.handler = Handler


def test_the_end_of_a_job_is_told_signed_until_it_is_taken(tmp_path: Path) -> None:
    receiver = Receiver(503, 204)
    with (
        serving(receiver.handler) as url,
        gateway(tmp_path, webhook_networks="127.0.0.0/8") as client,
    ):
        job = finished(client, create(client, ARCHIVE, webhook={"url": url, "secret": SECRET}))
        until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["webhook"] == "sent")

    assert len(receiver.notices) == 2
    headers, body = receiver.notices[-1]
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET.encode(), message, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == receiver.notices[0][0]["webhook-id"]
    told = json.loads(body)
    assert (told["type"], told["data"]["id"], told["data"]["done"]) == ("job.ended", job["id"], 2)


def test_a_gateway_that_starts_tells_what_one_that_is_gone_owed(tmp_path: Path) -> None:
    away, back = Receiver(500), Receiver(200)
    with serving(away.handler) as url:
        with gateway(tmp_path, webhook_networks="127.0.0.0/8") as client:
            job = finished(client, create(client, ARCHIVE, webhook={"url": url, "secret": SECRET}))
            until(lambda: away.notices)
        away.handler.do_POST = back.handler.do_POST  # type: ignore[method-assign]
        with gateway(tmp_path, webhook_networks="127.0.0.0/8") as client:
            until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["webhook"] == "sent")

    assert len(back.notices) == 1


def test_what_a_gateway_owes_is_anothers_as_soon_as_it_ends(tmp_path: Path) -> None:
    away = Receiver(500)
    with serving(away.handler) as url, gateway(tmp_path, webhook_networks="127.0.0.0/8") as client:
        job = finished(client, create(client, ARCHIVE, webhook={"url": url, "secret": SECRET}))
        until(lambda: away.notices)

    ledger = Ledger(SqliteStore(tmp_path / FILE))
    try:
        assert ledger.due_notices("another") == [job["id"]]
    finally:
        ledger.close()


def test_what_a_gateway_owes_stays_its_own_while_it_looks_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.batch.http.jobs.POLL_SECONDS", 600.0)  # as one look that takes so long
    monkeypatch.setattr("lexiseg_service.batch.runner.BEATS", 100)
    with gateway(tmp_path), closing(SqliteStore(tmp_path / FILE)) as store:

        def leases() -> list[float]:
            return [row.expires or 0.0 for row in store.view(lambda step: step.rows(HOLDER))]

        until(leases)
        first = leases()
        until(lambda: leases() > first)


def test_a_job_that_is_removed_is_told_to_nobody_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "MAX_PAUSE", 0.2)
    away = Receiver(500)

    def told(job: dict[str, Any]) -> int:
        return sum(headers["webhook-id"] == f"job-{job['id']}" for headers, _ in away.notices)

    with serving(away.handler) as url, gateway(tmp_path, webhook_networks="127.0.0.0/8") as client:
        removed, other = (
            finished(client, create(client, ARCHIVE, webhook={"url": url, "secret": SECRET})) for _ in range(2)
        )
        until(lambda: told(removed) and told(other))

        client.delete(f"/v1/jobs/{removed['id']}")
        before, enough = told(removed), told(other) + 10
        until(lambda: told(other) >= enough)

    assert told(removed) <= before + 4  # until the next look


REFUSED = {
    "https://127.0.0.1/hook": "LEXISEG_WEBHOOK_NETWORKS",
    "https://[::1]/hook": "LEXISEG_WEBHOOK_NETWORKS",
    "https://169.254.169.254/latest": "LEXISEG_WEBHOOK_NETWORKS",
    "http://10.0.0.1/hook": "https://HOST/PATH",
    "https://user:word@example.org/": "none in the URL",
    "nothing": "https://HOST/PATH",
}


def test_a_webhook_that_may_not_be_told_is_refused_at_once(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        answers = {url: create(client, ARCHIVE, webhook={"url": url, "secret": SECRET}) for url in REFUSED}

    assert {(answer.status_code, answer.json()["type"]) for answer in answers.values()} == {(422, "invalid-value")}
    assert [url for url, expected in REFUSED.items() if expected not in answers[url].json()["detail"]] == []


async def test_names_at_silent_servers_end_soon_and_leave_lookups_to_another_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered, lookup = Event(), socket.getaddrinfo

    def silent(host: str, *arguments: Any, **options: Any) -> Any:
        if host.startswith("silent"):
            answered.wait()
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    sender = notices.WebhookSender(Settings(webhook_networks=("127.0.0.0/8",)))
    with monkeypatch.context() as patches:
        patches.setattr(notices, "ATTEMPT_SECONDS", 0.05)
        urls = [f"https://silent-{number}.example.org/" for number in range(20)]
        ended = await asyncio.gather(*(sender.check(url, "eve") for url in urls), return_exceptions=True)
    try:
        await sender.check("http://127.0.0.1/", "ann")
    finally:
        answered.set()

    assert {type(error).__name__ for error in ended} == {"InvalidValue", "RateLimited"}


def test_events_show_the_progress_up_to_the_end(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        identity = create(client, ARCHIVE).json()["id"]
        with client.stream("GET", f"/v1/jobs/{identity}/events", timeout=60) as answer:
            lines = [line for line in answer.iter_lines() if line and not line.startswith(":")]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert lines[-2] == "event: done"
    assert json.loads(lines[-1].removeprefix("data: "))["done"] == 2
