"""`client.jobs`: many pictures asked one question in the background of a server."""

from __future__ import annotations

import builtins
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TypeAlias, TypeVar, cast

from lexiseg_client.address import PREFIX, path_of
from lexiseg_client.calling.mapping import ProgressLine, check_several
from lexiseg_client.calling.steps import Call, Resource, Send, Wait, Work, awaited
from lexiseg_client.errors import Problem, TimedOut, read_problem
from lexiseg_client.question import Classes, Options, Unpack, question_json
from lexiseg_client.rest import json_as, of_json, read
from lexiseg_labels.exports import write_whole
from lexiseg_labels.segmentation import Segmentation

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client

Format: TypeAlias = str  # jsonl, parquet, or a format of labels
POLL_SECONDS = 1.0
PARTS_PER_PAGE = 16
UPLOAD_SECONDS = 3600.0  # for an archive, unless a timeout is given
ROUTE = f"{PREFIX}/jobs"


@dataclass(frozen=True)
class JobState:
    """Where a job stands, as `GET /v1/jobs/ID` says."""

    id: str
    state: Literal["waiting", "running", "done"]
    total: int
    done: int
    failed: int
    per_minute: float
    seconds_left: float | None
    to: Format
    classes: Sequence[str]
    detail: str | None = None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> JobState:
        """A state from its JSON; unknown members are ignored."""
        return of_json(cls, document)


Progress: TypeAlias = Callable[[JobState], object] | bool | None


@dataclass(frozen=True)
class JobAnswer:
    """The answer about one picture, or the problem: one of them is None."""

    number: int  # in the order of the source, from 0
    image: str  # URL, or path in the folder or archive
    answer: Segmentation | None
    problem: Problem | None


# An archive or a folder of this machine, s3:// of the server, or addresses.
JobImages: TypeAlias = str | os.PathLike[str] | Sequence[str]


def _arranged(
    images: JobImages | Classes | None, classes: Classes | None, named: dict[str, Any]
) -> tuple[dict[str, Any], Classes | None]:
    """The pictures, by name, and the classes of `Jobs.create`; these may come first where the pictures are `named`."""
    if images is None:
        return named, classes
    if named:
        if classes is not None:
            raise TypeError("the pictures are given twice: as first argument, and as urls, archive or folder")
        return named, cast("Classes", images)
    if isinstance(images, os.PathLike) or (isinstance(images, str) and "://" not in images):
        return {"archive": images}, classes
    if isinstance(images, str):
        return ({"folder": images} if images.startswith("s3://") else {"urls": [images]}), classes
    expected = "images: expected an archive, a folder, or a list of addresses"
    check_several(images, expected)
    addresses = list(cast("Sequence[str]", images))
    for each in addresses:
        if not isinstance(each, str) or "://" not in each:
            raise TypeError(f"{expected}; got {each!r:.60} in it")
    return {"urls": addresses}, classes


_Page: TypeAlias = "tuple[list[JobAnswer], str | None]"  # answers, and the path of the next ones


J = TypeVar("J", bound="_Job")


class _Job(Resource):
    """What `Job` and `AsyncJob` share: the steps of their calls."""

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

    @property
    def _first_page(self) -> str:
        return f"{path_of(ROUTE, self.id)}/results?to=jsonl&limit={PARTS_PER_PAGE}"

    def _refreshed(self, timeout: float | None) -> Call[JobState]:
        request, deadline = Send("GET", path_of(ROUTE, self.id)), self._calls.deadline(timeout)
        self.state = yield from self._calls.rest.ask(request, json_as(JobState.from_dict), deadline)
        return self.state

    def _until_done(self, timeout: float | None, show: Callable[[JobState], object]) -> Call[JobState]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            now = yield from self._refreshed(None)
            show(now)
            if now.state == "done":
                return now
            if end is not None and time.monotonic() + POLL_SECONDS > end:
                raise TimedOut(f"{now.done:,} of {now.total:,} pictures are answered; the job goes on")
            yield Wait(POLL_SECONDS)

    def _answers_at(self, path: str) -> Call[_Page]:
        """Wait for answers at a path, until there are some or the job is done."""
        while True:
            now = yield from self._refreshed(None)
            reply = yield from self._calls.rest.ask(Send("GET", path), lambda reply: reply, self._calls.deadline(None))
            lines = reply.content.splitlines()
            if lines or now.state == "done":
                link = reply.links.get("next", {}).get("url")
                return [_answer_of(line) for line in lines], link if lines else None
            yield Wait(POLL_SECONDS)

    def _saved(self, path: Path, to: Format, timeout: float | None) -> Call[Path]:
        request = Send("GET", f"{path_of(ROUTE, self.id)}/results?to={to}")
        content = yield from self._calls.rest.ask(request, lambda reply: reply.content, self._calls.deadline(timeout))
        yield Work(partial(write_whole, path, content))
        return path


class Job(_Job):
    """A job on a server. Iterate over it for its answers, while it runs and after."""

    def refresh(self, *, timeout: float | None = None) -> JobState:
        """Ask where the job stands. Raises UnknownJob: it has been removed."""
        return self._run(self._refreshed(timeout))

    def wait(self, *, timeout: float | None = None, progress: Progress = None) -> JobState:
        """Wait until every picture has an answer or a problem.

        Args:
            timeout: seconds; None: as long as it takes.
            progress: called with each state; True: a bar on standard error; None: a bar if that is a terminal.

        Raises:
            TimedOut: it has not ended in time.
            UnknownJob: it has been removed.
        """
        return self._run(self._until_done(timeout, _reporter(progress)))

    def __iter__(self) -> Iterator[JobAnswer]:
        """Yield answers in the order in which they were given, until there is one for every picture."""
        path: str | None = self._first_page
        while path is not None:
            answers, path = self._page(path)
            yield from answers

    def _page(self, path: str) -> _Page:
        return self._run(self._answers_at(path))

    def save(self, path: str | os.PathLike[str], to: Format | None = None, *, timeout: float | None = None) -> Path:
        """Write the results so far to a file: JSON lines, parquet, COCO's JSON, or a zip; None: the job's format."""
        return self._run(self._saved(Path(path), to or self.state.to, timeout))

    def delete(self, *, timeout: float | None = None) -> None:
        """End the job, and remove it with its results."""
        return self._ask(Send("DELETE", path_of(ROUTE, self.id), repeatable=False), lambda _: None, timeout)


class AsyncJob(_Job):
    """As `Job`: methods are awaited, and `async for` reads its answers."""

    refresh = awaited(Job.refresh)
    wait = awaited(Job.wait)
    save = awaited(Job.save)
    delete = awaited(Job.delete)
    _page = awaited(Job._page)

    async def __aiter__(self) -> AsyncIterator[JobAnswer]:
        path: str | None = self._first_page
        while path is not None:
            answers, path = await self._page(path)
            for answer in answers:
                yield answer


class _JobMaker(Resource, Generic[J]):
    """Makes jobs of a `_kind` of what the server says."""

    _kind: type[J]

    def _job(self, document: Mapping[str, Any]) -> J:
        return self._kind(self._client, JobState.from_dict(document))

    def _created(self, job: dict[str, Any], archive: str | os.PathLike[str] | None, timeout: float | None) -> Call[J]:
        with ExitStack() as stack:
            body: dict[str, Any] = {"json": job}
            if archive is not None:
                file: BinaryIO = stack.enter_context(closing((yield Work(partial(_opened, Path(archive))))))
                body = {"data": {"request": json.dumps(job)}, "files": {"archive": ("archive", file)}}
                timeout = UPLOAD_SECONDS if timeout is None else timeout
            request = Send("POST", ROUTE, body=body, repeatable=False)
            return (yield from self._calls.rest.ask(request, json_as(self._job), self._calls.deadline(timeout)))


class _Jobs(_JobMaker[J]):
    """The jobs of an API key."""

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
    ) -> J:
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
        named = {"urls": urls, "archive": archive, "folder": folder}
        source, classes = _arranged(images, classes, {name: each for name, each in named.items() if each is not None})
        job = {"question": question_json(classes, options), "to": to, **source}
        if webhook is not None:
            job["webhook"] = webhook
        return self._run(self._created(job, job.pop("archive", None), timeout))

    def get(self, identity: str, *, timeout: float | None = None) -> J:
        """A job by its id. Raises UnknownJob: no such job of this API key."""
        return self._ask(Send("GET", path_of(ROUTE, identity)), json_as(self._job), timeout)

    def list(self, *, timeout: float | None = None) -> builtins.list[J]:
        """All jobs of this API key, the oldest first."""
        return self._ask(Send("GET", ROUTE), json_as(lambda page: [self._job(each) for each in page["jobs"]]), timeout)


class Jobs(_Jobs[Job]):
    """The jobs of an API key: `client.jobs`. They need REST, and a server that takes jobs."""

    _kind = Job


class AsyncJobs(_JobMaker[AsyncJob]):
    """As `Jobs`: `client.jobs` of an `AsyncClient`."""

    _kind = AsyncJob
    create = awaited(_Jobs[AsyncJob].create)
    get = awaited(_Jobs[AsyncJob].get)
    list = awaited(_Jobs[AsyncJob].list)


def _answer_of(line: bytes) -> JobAnswer:
    def build(document: dict[str, Any]) -> JobAnswer:
        answer, problem = document["answer"], document["problem"]
        return JobAnswer(
            document["number"],
            document["image"],
            None if answer is None else Segmentation.from_dict(answer),
            None if problem is None else read_problem(problem, int(problem["status"])),
        )

    return read(line, build)


def _opened(path: Path) -> BinaryIO:
    if not path.is_dir():
        return path.open("rb")
    with ExitStack() as stack:
        file = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for each in sorted(path.rglob("*")):
                if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts):
                    archive.write(each, each.relative_to(path))
        file.seek(0)
        stack.pop_all()  # open for the upload
        return file


def _reporter(progress: Progress) -> Callable[[JobState], object]:
    if callable(progress):
        return progress
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return lambda now: None
    line = ProgressLine()
    return lambda now: line(now.done + now.failed, now.total)
