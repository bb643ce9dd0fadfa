"""Tell of the end of jobs, each once: by a signed POST to a webhook, or by the adapter of a kind of source.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): an HMAC of ID.TIMESTAMP.BODY.
The notice is a row of the job, so another gateway goes on where one is gone: a receiver may be told twice, by one id.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx
import orjson
import structlog
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from lexiseg_service.batch.ledger.job import Job, Ledger, Notice, Progress, Webhook, ask_ledger
from lexiseg_service.batch.runner import LEASE_SECONDS
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import ImageNotFetched, InvalidValue, NotReady, QueueFull, RateLimited
from lexiseg_service.image.url_fetch import HostGuard, SystemResolver
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.jobs")
FIELD = "webhook.url"
MAX_CONCURRENT = 16  # POSTs; lookups when jobs are created
MAX_LOOKUPS = 14 * MAX_CONCURRENT  # each goes on after its attempt, at silent servers for a minute
ATTEMPT_SECONDS = 10.0  # for one POST or lookup
FIRST_PAUSE, MAX_PAUSE = 1.0, 600.0  # seconds
PATIENCE = 86_400.0  # seconds, after which a notice is given up
Send = Callable[[Job, Mapping[str, Any]], Awaitable[bool]]  # tells of the end; False: given up


class NotTaken(Exception):
    """The receiver did not answer, or not with 2xx; it may later."""


def persistent() -> AsyncRetrying:
    """Calls a function until it does not raise NotTaken, for a day; then RetryError."""
    return AsyncRetrying(
        stop=stop_after_delay(PATIENCE),
        wait=wait_exponential_jitter(FIRST_PAUSE, MAX_PAUSE),
        retry=retry_if_exception_type(NotTaken),
    )


class WebhookSender:
    """Sends notices of ended jobs."""

    def __init__(self, settings: Settings) -> None:
        resolve, own = SystemResolver(MAX_LOOKUPS), settings.webhook_networks
        self._hosts = HostGuard(FIELD, resolve, setting="LEXISEG_WEBHOOK_NETWORKS", own=own)
        self._lookups = Shares("lookups of webhooks", MAX_CONCURRENT, CLIENT_SHARE)
        self._posts = Shares("webhooks", MAX_CONCURRENT, CLIENT_SHARE)

    async def check(self, url: str, client: str) -> None:
        parsed = self._hosts.checked(url)
        try:
            with self._lookups.take(client):
                await asyncio.wait_for(self._hosts.addresses(parsed), ATTEMPT_SECONDS)
        except (ImageNotFetched, TimeoutError):
            raise InvalidValue.of(FIELD, "a host that is not known or not allowed", self._hosts.expected) from None

    async def send(self, job: Job, content: Mapping[str, Any]) -> bool:
        """Tell a job's webhook; False: it has not taken the notice for a day."""
        assert job.webhook is not None
        body = orjson.dumps({"type": "job.ended", "data": content})
        try:
            await persistent()(self._post, job.webhook, job.client, f"job-{job.id}", body)
        except (RetryError, InvalidValue) as error:
            logger.warning("webhook given up", job=job.id, error=type(error).__name__)
            return False
        return True

    async def _post(self, webhook: Webhook, client: str, identity: str, body: bytes) -> None:
        url = self._hosts.checked(webhook.url)
        headers = signed(webhook.secret, identity, int(time.time()), body)
        try:
            with self._posts.take(client):
                async with asyncio.timeout(ATTEMPT_SECONDS), self._hosts.send("POST", url, headers, body) as response:
                    if not response.is_success:
                        raise NotTaken(f"status {response.status_code}")
        except (ImageNotFetched, RateLimited, QueueFull, httpx.TransportError, TimeoutError) as error:
            raise NotTaken(str(error)) from error


def signed(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    message = f"{identity}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


class Notices:
    """The notices of one gateway."""

    def __init__(
        self,
        ledger: Ledger,
        webhooks: WebhookSender,
        output: Callable[[Job, Progress], Mapping[str, Any]],
        metrics: Metrics,
        holders: set[str],
    ) -> None:
        self._ledger = ledger
        self._webhooks = webhooks
        self._output = output
        self._metrics = metrics
        self.senders: dict[SourceKind, Send] = {}  # adapters that tell of the end of jobs, in place of a webhook
        self._holder = uuid.uuid4().hex
        self._holders = holders  # with leases that are renewed
        self._sending: dict[str, asyncio.Task[None]] = {}  # by job

    async def look(self) -> None:
        """Begin to send the notices of jobs that have ended."""
        if self._holder not in self._holders:
            await ask_ledger(self._ledger.renew_leases, (self._holder,), LEASE_SECONDS)
            self._holders.add(self._holder)
        for identity in await ask_ledger(self._ledger.due_notices, self._holder):
            if identity not in self._sending:
                self._sending[identity] = asyncio.create_task(self._send(identity))
        for identity, task in [*self._sending.items()]:
            if await ask_ledger(self._ledger.job, identity) is None:
                task.cancel()  # removed, perhaps by another gateway: nobody is told of it any more

    async def close(self) -> None:
        self._holders.discard(self._holder)
        for task in self._sending.values():
            task.cancel()
        with suppress(NotReady):
            await ask_ledger(self._ledger.release_lease, self._holder)  # another gateway sends the rest at once

    async def _send(self, identity: str) -> None:
        try:
            with suppress(NotReady):  # the notice is still due
                job = await ask_ledger(self._ledger.job, identity)
                progress = await ask_ledger(self._ledger.progress, identity)
                if job is not None and progress is not None:
                    send = self.senders.get(job.kind, self._webhooks.send)
                    is_accepted = await send(job, self._output(job, progress))
                    notice: Notice = "sent" if is_accepted else "given up"
                    await ask_ledger(self._ledger.update, identity, {"notice": notice})
                    self._metrics.webhooks.labels(notice).inc()
        finally:
            del self._sending[identity]
