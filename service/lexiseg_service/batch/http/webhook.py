"""Tell the webhook of a job that it has ended: a signed POST, repeated until it is taken.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): an HMAC of ID.TIMESTAMP.BODY.
The notice is a row of the job, so another gateway goes on where one is gone: a receiver may be told twice, by one id.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import structlog
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from lexiseg_service.batch.ledger.job import Job, Webhook
from lexiseg_service.errors import ImageNotFetched, InvalidValue
from lexiseg_service.image.url_fetch import HostGuard, SystemResolver
from lexiseg_service.settings import Settings

logger = structlog.get_logger("lexiseg.jobs")
FIELD = "webhook.url"
MAX_LOOKUPS = 8  # at a time
ATTEMPT_SECONDS = 10.0  # for one POST
FIRST_PAUSE, MAX_PAUSE = 1.0, 600.0  # seconds
PATIENCE = 86_400.0  # seconds, after which a notice is given up


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
        self._hosts = HostGuard(
            FIELD, SystemResolver(MAX_LOOKUPS), setting="LEXISEG_WEBHOOK_NETWORKS", own=settings.webhook_networks
        )

    async def check(self, url: str) -> None:
        """Check that a URL may be told."""
        parsed = self._hosts.checked(url)
        try:
            await self._hosts.addresses(parsed)
        except ImageNotFetched:
            raise InvalidValue.of(FIELD, "a host that is not known or not allowed", self._hosts.expected) from None

    async def send(self, job: Job, content: Mapping[str, Any]) -> bool:
        """Tell a job's webhook; False: it has not taken the notice for a day."""
        assert job.webhook is not None
        body = orjson.dumps({"type": "job.ended", "data": content})
        try:
            await persistent()(self._post, job.webhook, f"job-{job.id}", body)
        except (RetryError, InvalidValue) as error:
            logger.warning("webhook given up", job=job.id, error=type(error).__name__)
            return False
        return True

    async def _post(self, webhook: Webhook, identity: str, body: bytes) -> None:
        url = self._hosts.checked(webhook.url)
        headers = signed(webhook.secret, identity, int(time.time()), body)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                for address in await self._hosts.addresses(url):
                    try:
                        async with self._hosts.send("POST", url, address, headers, body) as response:
                            if response.is_success:
                                return
                            raise NotTaken(f"status {response.status_code}")
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        continue
        except (ImageNotFetched, httpx.TransportError, TimeoutError) as error:
            raise NotTaken(str(error)) from error
        raise NotTaken("no address takes a connection")


def signed(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a notice."""
    message = f"{identity}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
