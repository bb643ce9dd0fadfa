"""Tell of the end of jobs, each once: by their webhooks, or by the adapter of a kind of source."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from lexiseg_service.batch.http.webhook import WebhookSender
from lexiseg_service.batch.ledger.job import Job, Ledger, Notice, Progress, ask_ledger
from lexiseg_service.batch.runner import LEASE_SECONDS, POLL_SECONDS
from lexiseg_service.batch.sources.source import SourceKind
from lexiseg_service.errors import NotReady
from lexiseg_service.watch.metrics import Metrics

Send = Callable[[Job, Mapping[str, Any]], Awaitable[bool]]  # tells of the end; False: given up


class Notices:
    """The notices of one gateway."""

    def __init__(
        self,
        ledger: Ledger,
        webhooks: WebhookSender,
        output: Callable[[Job, Progress], Mapping[str, Any]],
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._webhooks = webhooks
        self._output = output
        self._metrics = metrics
        self._senders: dict[SourceKind, Send] = {}
        self.sending: dict[str, asyncio.Task[None]] = {}  # by job

    def send_by(self, kind: SourceKind, send: Send) -> None:
        """Have an adapter tell of the end of jobs of a kind of source, in place of a webhook."""
        self._senders[kind] = send

    async def send(self, holding: Callable[[str], AbstractContextManager[None]]) -> None:
        """Send notices of jobs that have ended, until it is cancelled; `holding` renews the lease of a holder."""
        holder = uuid.uuid4().hex
        try:
            with holding(holder):
                while True:
                    await self._look(holder)
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            for task in self.sending.values():
                task.cancel()
            with suppress(NotReady):
                await ask_ledger(self._ledger.release_lease, holder)  # another gateway sends the rest at once

    async def _look(self, holder: str) -> None:
        """Begin to send what is due."""
        with suppress(NotReady):
            await ask_ledger(self._ledger.renew_leases, (holder,), LEASE_SECONDS)
            for identity in await ask_ledger(self._ledger.due_notices, holder):
                if identity not in self.sending:
                    self.sending[identity] = asyncio.create_task(self._send(identity))
            for identity, task in [*self.sending.items()]:
                if await ask_ledger(self._ledger.job, identity) is None:
                    task.cancel()  # removed, perhaps by another gateway: nobody is told of it any more

    async def _send(self, identity: str) -> None:
        try:
            job = await ask_ledger(self._ledger.job, identity)
            progress = await ask_ledger(self._ledger.progress, identity)
            if job is not None and progress is not None:
                send = self._senders.get(job.kind, self._webhooks.send)
                is_accepted = await send(job, self._output(job, progress))
                notice: Notice = "sent" if is_accepted else "given up"
                await ask_ledger(self._ledger.record_notice, identity, notice)
                self._metrics.webhooks.labels(notice).inc()
        except NotReady:  # the notice is still due
            pass
        finally:
            del self.sending[identity]
