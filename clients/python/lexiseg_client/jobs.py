"""`client.jobs`: many pictures asked one question in the background of a server."""

from __future__ import annotations

import builtins
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lexiseg_client.calling import jobs as steps
from lexiseg_client.calling.jobs import Format, JobAnswer, JobImages, JobState, Page, Progress, Source
from lexiseg_client.calling.resource import Resource, awaited
from lexiseg_client.calling.steps import Call, Send
from lexiseg_client.question.options import Classes, Options, Unpack

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client


class _Job(Resource):
    def __init__(self, client: Client | AsyncClient, state: JobState) -> None:
        super().__init__(client)
        self.state: JobState = state  # as of the last call

    @property
    def id(self) -> str:
        """The job's id, for `client.jobs.get`."""
        return self.state.id

    def __repr__(self) -> str:
        kind, now = type(self).__name__, self.state
        return f"<{kind} {now.id}: {now.state}, {now.done} of {now.total} answered, {now.failed} failed>"

    def _store(self, call: Call[JobState]) -> Call[JobState]:
        self.state = yield from call
        return self.state


class Job(_Job):
    """A job on a server. Iterate over it for its answers, while it runs and after."""

    def refresh(self, *, timeout: float | None = None) -> JobState:
        """Ask where the job stands.

        Raises:
            UnknownJob: it has been removed.
        """
        return self._run(self._store(steps.state(self._calls, self.id, timeout)))

    def wait(self, *, timeout: float | None = None, progress: Progress = None) -> JobState:
        """Wait until every picture has an answer or a problem.

        Args:
            timeout: seconds; None: as long as it takes.
            progress: called with each state; True: a bar on standard error; None: a bar if that is a terminal.

        Raises:
            TimedOut: it has not ended in time.
            UnknownJob: it has been removed.
        """
        return self._run(self._store(steps.wait(self._calls, self.id, timeout, progress)))

    def __iter__(self) -> Iterator[JobAnswer]:
        """Yield answers in the order in which they were given, until there is one for every picture."""
        path: str | None = steps.first_path(self.id)
        while path is not None:
            answers, path, self.state = self._page(path)
            yield from answers

    def _page(self, path: str) -> Page:
        return self._run(steps.page(self._calls, self.id, path))

    def save(self, path: str | os.PathLike[str], to: Format | None = None, *, timeout: float | None = None) -> Path:
        """Write the results so far to a file: JSON lines, parquet, COCO's JSON, or a zip; None: the job's format."""
        return self._run(steps.save(self._calls, self.id, Path(path), to or self.state.to, timeout))

    def delete(self, *, timeout: float | None = None) -> None:
        """End the job, and remove it with its results."""
        return self._ask(Send("DELETE", steps.path_of(self.id), repeatable=False), lambda _: None, timeout)


class Jobs:
    """The jobs of an API key: `client.jobs`. They need REST, and a server that takes jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        images: JobImages | Classes | None = None,
        classes: Classes | None = None,
        *,
        urls: Sequence[str] | None = None,
        archive: str | os.PathLike[str] | None = None,
        folder: str | None = None,
        to: Format = "jsonl",
        webhook: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Ask one question about many pictures in the background.

        Args:
            images: a zip or tar on this machine, or a folder of pictures, which is sent as a zip; addresses, which the
                server fetches; or one of the three by name. The classes may stand here where the name is given.
            classes: as for `Client.segment`.
            urls: addresses of the pictures.
            archive: a zip, tar or folder on this machine.
            folder: a folder or s3:// prefix of the server, one that its operator allows.
            to: format of the results.
            webhook: `{"url": ..., "secret": ...}`, told when the job ends.
            timeout: seconds; None: the client's, and an hour for an archive.
            options: as for `Client.segment`.

        Raises:
            TypeError, ValueError: an invalid option, or pictures that are none or given twice; nothing was sent.
            SwitchedOff: the server takes no jobs.
            InvalidValue, NotAllowed: the server refuses the pictures or the question.
            OSError: the archive cannot be read.
        """
        source, classes = steps.arranged(images, classes, Source(urls, archive, folder))
        call = steps.create(self._client._calls, classes, source, to, webhook, timeout, options)
        return Job(self._client, self._client._run(call))

    def get(self, identity: str, *, timeout: float | None = None) -> Job:
        """A job by its id.

        Raises:
            UnknownJob: no such job of this API key.
        """
        return Job(self._client, self._client._run(steps.state(self._client._calls, identity, timeout)))

    def list(self, *, timeout: float | None = None) -> builtins.list[Job]:
        """All jobs of this API key, the oldest first."""
        return [Job(self._client, each) for each in self._client._run(steps.states(self._client._calls, timeout))]


class AsyncJob(_Job):
    """As `Job`: methods are awaited, and `async for` reads its answers."""

    refresh = awaited(Job.refresh)
    wait = awaited(Job.wait)
    save = awaited(Job.save)
    delete = awaited(Job.delete)
    _page = awaited(Job._page)

    async def __aiter__(self) -> AsyncIterator[JobAnswer]:
        """See `Job.__iter__`."""
        path: str | None = steps.first_path(self.id)
        while path is not None:
            answers, path, self.state = await self._page(path)
            for answer in answers:
                yield answer


class AsyncJobs:
    """As `Jobs`: `client.jobs` of an `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        images: JobImages | Classes | None = None,
        classes: Classes | None = None,
        *,
        urls: Sequence[str] | None = None,
        archive: str | os.PathLike[str] | None = None,
        folder: str | None = None,
        to: Format = "jsonl",
        webhook: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncJob:
        """See `Jobs.create`."""
        source, classes = steps.arranged(images, classes, Source(urls, archive, folder))
        call = steps.create(self._client._calls, classes, source, to, webhook, timeout, options)
        return AsyncJob(self._client, await self._client._run(call))

    async def get(self, identity: str, *, timeout: float | None = None) -> AsyncJob:
        """See `Jobs.get`."""
        return AsyncJob(self._client, await self._client._run(steps.state(self._client._calls, identity, timeout)))

    async def list(self, *, timeout: float | None = None) -> builtins.list[AsyncJob]:
        """See `Jobs.list`."""
        states = await self._client._run(steps.states(self._client._calls, timeout))
        return [AsyncJob(self._client, each) for each in states]
