"""Import the predictions of an ended job into Label Studio, by POST /api/projects/ID/import/predictions.

The notice of the job's end is the import (`Jobs.notify_by`): it is repeated until Label Studio has taken all. Where a
gateway is gone another begins anew, so a task may get its prediction twice after a crash during an import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any, Protocol

import httpx
import structlog
from tenacity import RetryError

from lexiseg_service.adapters.label_studio_pictures import authorization
from lexiseg_service.batch.http.webhook import NotTaken, persistent
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.errors import ImageNotFetched
from lexiseg_service.settings import Settings

logger = structlog.get_logger("lexiseg.jobs")
BATCH = 32  # predictions of one request: brushes take a hundred kilobytes each
IMPORT_SECONDS = 60.0  # for one request
# Statuses that a prediction gets for itself, as after its task was deleted.
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
Predictions = Iterator[dict[str, Any]]


def can_import(settings: Settings) -> bool:
    """Whether the settings say where to import, and by which token."""
    return settings.label_studio_url is not None and settings.label_studio_api_key is not None


def import_address(settings: Settings, project: int) -> str:
    """The address that takes predictions of a project."""
    return f"{_projects(settings)}{project}/import/predictions"


def _projects(settings: Settings) -> str:
    return f"{(settings.label_studio_url or '').rstrip('/')}/api/projects/"


class Journal(Protocol):
    """What is recorded of an import, so that another gateway goes on with it."""

    async def n_delivered(self, job: Job) -> int:
        """How many predictions of a job are imported."""
        ...

    async def record_delivered(self, job: Job, count: int) -> None:
        """Record that so many are."""
        ...


class Importer:
    """Imports the predictions of jobs.

    Args:
        settings: address and token of Label Studio.
        journal: records what is imported.
        predictions: of a job, read while they are taken, in an order that stays; blocks.
    """

    def __init__(
        self, settings: Settings, journal: Journal, predictions: Callable[[Job], Awaitable[Predictions]]
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._predictions = predictions

    async def send(self, job: Job, content: Mapping[str, Any]) -> bool:
        """Import a job's predictions; False: Label Studio has not taken them for a day, or is another one now."""
        address = "" if job.webhook is None else job.webhook.url
        if not address.startswith(_projects(self._settings)):  # the token is for the Label Studio of the settings
            logger.warning("predictions given up", job=job.id, error=f"LEXISEG_LABEL_STUDIO_URL is not of {address}")
            return False
        n_delivered = await self._journal.n_delivered(job)
        predictions = islice(await self._predictions(job), n_delivered, None)
        try:
            while batch := await asyncio.to_thread(lambda: list(islice(predictions, BATCH))):
                await self._import(job, address, batch)
                n_delivered += len(batch)
                await self._journal.record_delivered(job, n_delivered)
        except RetryError as error:
            logger.warning("predictions given up", job=job.id, error=str(error.last_attempt.exception()))
            return False
        return True

    async def _import(self, job: Job, address: str, batch: list[dict[str, Any]]) -> None:
        """Import a batch; one that is refused goes prediction by prediction, and refused ones are logged."""
        refusal: str | None = await persistent()(self._post, address, batch)
        if refusal is not None and len(batch) == 1:
            logger.warning("prediction refused", job=job.id, task=batch[0]["task"], error=refusal)
        elif refusal is not None:
            for each in batch:
                await self._import(job, address, [each])

    async def _post(self, address: str, batch: list[dict[str, Any]]) -> str | None:
        """Send predictions; returns why they are refused."""
        key = self._settings.label_studio_api_key
        assert key is not None
        url = httpx.URL(address)
        try:
            async with httpx.AsyncClient(timeout=IMPORT_SECONDS, trust_env=False) as client:
                headers = {"Authorization": await authorization(client, url, key.get_secret_value())}
                answer = await client.post(url, json=batch, headers=headers)
        except (httpx.HTTPError, ImageNotFetched) as error:
            raise NotTaken(str(error) or type(error).__name__) from error
        if answer.is_success:
            return None
        outcome = f"status {answer.status_code}: {answer.text[:200]}"
        if answer.status_code not in REFUSED:
            raise NotTaken(outcome)
        return outcome
