"""`client.jobs`: many pictures asked one question in the background of a server."""

from __future__ import annotations

import builtins
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast
from urllib.parse import quote

from lexiseg_client.calling.retries import exchange, read_problem
from lexiseg_client.calling.steps import Send
from lexiseg_client.errors import Problem, TimedOut
from lexiseg_client.question.options import Classes, Options, Unpack, question_json
from lexiseg_client.rest import PREFIX, read
from lexiseg_client.segmentation import Segmentation

if TYPE_CHECKING:
    from lexiseg_client.client import Client

Format: TypeAlias = Literal["jsonl", "parquet", "coco", "yolo", "label-maps"]
POLL_SECONDS = 1.0
PARTS_PER_PAGE = 16
UPLOAD_SECONDS = 3600.0  # for an archive, unless a timeout is given
BAR_WIDTH = 30


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
        return cls(**{item.name: document[item.name] for item in fields(cls)})


@dataclass(frozen=True)
class JobAnswer:
    """The answer about one picture, or the problem: one of them is None."""

    number: int  # in the order of the source, from 0
    image: str  # URL, or path in the folder or archive
    answer: Segmentation | None
    problem: Problem | None


class Job:
    """A job on a server. Iterate over it for its answers, while it runs and after."""

    def __init__(self, client: Client, state: JobState) -> None:
        self._client = client
        self.state = state  # as of the last call

    @property
    def id(self) -> str:
        """The job's id, for `client.jobs.get`."""
        return self.state.id

    def refresh(self, *, timeout: float | None = None) -> JobState:
        """Ask where the job stands.

        Raises:
            UnknownJob: it has been removed.
        """
        self.state = read(_ask(self._client, "GET", self._path, timeout).content, JobState.from_dict)
        return self.state

    def wait(
        self, *, timeout: float | None = None, progress: Callable[[JobState], object] | bool | None = None
    ) -> JobState:
        """Wait until every picture has an answer or a problem.

        Args:
            timeout: seconds; None: as long as it takes.
            progress: called with each state; True: a bar on standard error; None: a bar if that is a terminal.

        Raises:
            TimedOut: it has not ended in time.
            UnknownJob: it has been removed.
        """
        show = progress if callable(progress) else _bar if progress or _wants_bar(progress) else _nothing
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            show(self.refresh())
            if self.state.state == "done":
                return self.state
            if end is not None and time.monotonic() + POLL_SECONDS > end:
                raise TimedOut(f"{self.state.done:,} of {self.state.total:,} pictures are answered; the job goes on")
            time.sleep(POLL_SECONDS)

    def __iter__(self) -> Iterator[JobAnswer]:
        """Yield answers in the order in which they were given, until there is one for every picture."""
        path: str | None = f"{self._path}/results?to=jsonl&limit={PARTS_PER_PAGE}"
        while path is not None:
            was_done = self.refresh().state == "done"
            reply = _ask(self._client, "GET", path)
            lines = reply.content.splitlines()
            yield from map(_answer_of, lines)
            path = reply.links["next"]["url"] if "next" in reply.links else None
            if not lines:
                if was_done:
                    return
                time.sleep(POLL_SECONDS)

    def save(self, path: str | os.PathLike[str], to: Format | None = None, *, timeout: float | None = None) -> Path:
        """Write the results so far to a file: JSON lines, parquet, COCO's JSON, or a zip; None: the job's format."""
        target = Path(path)
        reply = _ask(self._client, "GET", f"{self._path}/results?to={to or self.state.to}", timeout)
        unfinished = target.with_name(f".{target.name}.unfinished")
        unfinished.write_bytes(reply.content)
        os.replace(unfinished, target)
        return target

    def delete(self, *, timeout: float | None = None) -> None:
        """End the job, and remove it with its results."""
        _ask(self._client, "DELETE", self._path, timeout)

    @property
    def _path(self) -> str:
        return f"{PREFIX}/jobs/{quote(self.id, safe='')}"


class Jobs:
    """The jobs of an API key: `client.jobs`. They need REST, and a server that takes jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
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
        """Ask one question about many pictures in the background; give one of urls, archive and folder.

        Args:
            classes: as for `Client.segment`.
            urls: addresses of the pictures, which the server fetches.
            archive: a zip or tar on this machine, or a folder of pictures, which is sent as a zip.
            folder: a folder or s3:// prefix of the server, among those that its operator allows.
            to: format of the results.
            webhook: `{"url": ..., "secret": ...}`, told when the job ends.
            timeout: seconds; None: the client's, and an hour for an archive.
            options: as for `Client.segment`.

        Raises:
            TypeError, ValueError: an invalid option; nothing was sent.
            SwitchedOff: the server takes no jobs.
            InvalidValue, NotAllowed: the server refuses the pictures or the question.
            OSError: the archive cannot be read.
        """
        asked: dict[str, Any] = {"question": question_json(classes, options), "to": to}
        sources = {"urls": None if urls is None else list(urls), "folder": folder}
        asked |= {name: value for name, value in sources.items() if value is not None}
        if webhook is not None:
            asked["webhook"] = dict(webhook)
        if archive is None:
            return Job(self._client, self._created({"json": asked}, timeout))
        with _opened(Path(archive)) as file:
            form = {"data": {"request": json.dumps(asked)}, "files": {"archive": ("archive", file)}}
            return Job(self._client, self._created(form, UPLOAD_SECONDS if timeout is None else timeout))

    def _created(self, body: Mapping[str, Any], timeout: float | None) -> JobState:
        reply = _ask(self._client, "POST", f"{PREFIX}/jobs", timeout, body)
        return read(reply.content, JobState.from_dict)

    def get(self, identity: str, *, timeout: float | None = None) -> Job:
        """A job by its id.

        Raises:
            UnknownJob: no such job of this API key.
        """
        path = f"{PREFIX}/jobs/{quote(identity, safe='')}"
        return Job(self._client, read(_ask(self._client, "GET", path, timeout).content, JobState.from_dict))

    def list(self, *, timeout: float | None = None) -> builtins.list[Job]:
        """All jobs of this API key, the oldest first."""
        reply = _ask(self._client, "GET", f"{PREFIX}/jobs", timeout)
        states = read(reply.content, lambda page: [JobState.from_dict(entry) for entry in page["jobs"]])
        return [Job(self._client, state) for state in states]


def _ask(
    client: Client, method: str, path: str, timeout: float | None = None, body: Mapping[str, Any] | None = None
) -> Any:
    """The reply to a request with the client's retries; one that creates or removes is not sent twice."""
    calls = client._calls
    request = Send(method, path, body=body or {}, repeatable=method == "GET")

    def call() -> Generator[Any, Any, Any]:
        return (yield from exchange(request, calls.rest.policy, calls.deadline(timeout)))

    return client._run(call())


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


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The archive, or a zip of the files in a folder."""
    if not path.is_dir():
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for each in sorted(path.rglob("*")):
                if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts):
                    archive.write(each, each.relative_to(path))
        file.seek(0)
        yield cast("BinaryIO", file)


def _wants_bar(progress: bool | None) -> bool:
    return progress is None and sys.stderr.isatty()


def _nothing(state: JobState) -> None:
    pass


def _bar(state: JobState) -> None:
    settled = state.done + state.failed
    filled = BAR_WIDTH * settled // max(1, state.total)
    left = "" if state.seconds_left is None else f", {state.seconds_left:,.0f} s left"
    text = f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {settled:,} of {state.total:,}{left}   "
    print(text, end="\n" if state.state == "done" else "", file=sys.stderr, flush=True)
