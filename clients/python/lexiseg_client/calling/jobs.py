"""Every call about jobs as steps, for `Client.jobs` and `AsyncClient.jobs`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import quote

from lexiseg_client.address import PREFIX
from lexiseg_client.calling.calls import Calls
from lexiseg_client.calling.mapping import ProgressLine, check_several
from lexiseg_client.calling.retries import exchange, read_problem
from lexiseg_client.calling.steps import Call, Send, Wait, Work
from lexiseg_client.errors import Problem, TimedOut
from lexiseg_client.models import of_json
from lexiseg_client.question.options import Classes, Options, question_json
from lexiseg_client.rest import json_as, read
from lexiseg_labels.exports import write_whole
from lexiseg_labels.segmentation import Segmentation

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


class Source(NamedTuple):
    """The pictures of a job: one of the three."""

    urls: Sequence[str] | None
    archive: str | os.PathLike[str] | None
    folder: str | None

    @property
    def is_given(self) -> bool:
        """Whether one of the three is there."""
        return any(each is not None for each in self)

    @classmethod
    def of(cls, images: JobImages) -> Source:
        """The source that images stand for. Raises TypeError: they are no path, and no list of addresses."""
        if isinstance(images, os.PathLike) or (isinstance(images, str) and "://" not in images):
            return cls(None, images, None)
        if isinstance(images, str):
            return cls(None, None, images) if images.startswith("s3://") else cls([images], None, None)
        check_several(images, "images: expected an archive, a folder, or a list of addresses")
        others = [each for each in images if not isinstance(each, str) or "://" not in each]
        if others:
            raise TypeError(
                f"images: expected an archive, a folder, or a list of addresses; got {others[0]!r:.60} in it"
            )
        return cls(list(images), None, None)


def arranged(
    images: JobImages | Classes | None, classes: Classes | None, source: Source
) -> tuple[Source, Classes | None]:
    """The pictures and the classes of `Jobs.create`; the classes may come first where the pictures are named.

    Raises:
        TypeError: the pictures are given twice, or are none.
    """
    if images is None:
        return source, classes
    if not source.is_given:
        return Source.of(cast("JobImages", images)), classes
    if classes is not None:
        raise TypeError("the pictures are given twice: as first argument, and as urls, archive or folder")
    return source, cast("Classes", images)


class Page(NamedTuple):
    """Some answers of a job."""

    answers: Sequence[JobAnswer]
    next: str | None  # path of the next ones; None: there are no more
    state: JobState  # as of before


def create(
    calls: Calls,
    classes: Classes | None,
    source: Source,
    to: Format,
    webhook: Mapping[str, str] | None,
    timeout: float | None,
    options: Options,
) -> Call[JobState]:
    """See `Jobs.create`."""
    optional = {"urls": source.urls, "folder": source.folder, "webhook": webhook}
    job: dict[str, Any] = {"question": question_json(classes, options), "to": to}
    job |= {name: value for name, value in optional.items() if value is not None}
    if source.archive is None:
        return (yield from _post(calls, {"json": job}, timeout))
    file: BinaryIO = yield Work(partial(_opened, Path(source.archive)))
    with closing(file):
        form = {"data": {"request": json.dumps(job)}, "files": {"archive": ("archive", file)}}
        return (yield from _post(calls, form, UPLOAD_SECONDS if timeout is None else timeout))


def _post(calls: Calls, body: Mapping[str, Any], timeout: float | None) -> Call[JobState]:
    request = Send("POST", ROUTE, body=body, repeatable=False)
    return calls.rest.ask(request, json_as(JobState.from_dict), calls.deadline(timeout))


def state(calls: Calls, identity: str, timeout: float | None) -> Call[JobState]:
    """See `Jobs.get`."""
    return calls.rest.ask(Send("GET", path_of(identity)), json_as(JobState.from_dict), calls.deadline(timeout))


def states(calls: Calls, timeout: float | None) -> Call[list[JobState]]:
    """See `Jobs.list`."""
    parse = json_as(lambda page: [JobState.from_dict(entry) for entry in page["jobs"]])
    return calls.rest.ask(Send("GET", ROUTE), parse, calls.deadline(timeout))


def wait(calls: Calls, identity: str, timeout: float | None, progress: Progress) -> Call[JobState]:
    """See `Job.wait`."""
    show = _reporter(progress)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        now = yield from state(calls, identity, None)
        show(now)
        if now.state == "done":
            return now
        if end is not None and time.monotonic() + POLL_SECONDS > end:
            raise TimedOut(f"{now.done:,} of {now.total:,} pictures are answered; the job goes on")
        yield Wait(POLL_SECONDS)


def first_path(identity: str) -> str:
    """The path of the first page."""
    return f"{path_of(identity)}/results?to=jsonl&limit={PARTS_PER_PAGE}"


def page(calls: Calls, identity: str, path: str) -> Call[Page]:
    """Wait for answers at a path, until there are some or the job is done."""
    while True:
        now = yield from state(calls, identity, None)
        reply = yield from exchange(Send("GET", path), calls.rest.policy, calls.deadline(None))
        lines = reply.content.splitlines()
        if lines or now.state == "done":
            link = reply.links.get("next", {}).get("url")
            return Page([_answer_of(line) for line in lines], link if lines else None, now)
        yield Wait(POLL_SECONDS)


def save(calls: Calls, identity: str, target: Path, to: Format, timeout: float | None) -> Call[Path]:
    """See `Job.save`."""
    request = Send("GET", f"{path_of(identity)}/results?to={to}")
    reply = yield from exchange(request, calls.rest.policy, calls.deadline(timeout))
    yield Work(partial(write_whole, target, reply.content))
    return target


def path_of(identity: str) -> str:
    """The path of a job."""
    return f"{ROUTE}/{quote(identity, safe='')}"


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
    """The archive, or a zip of the files in a folder."""
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
