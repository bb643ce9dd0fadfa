"""A job, its pictures and its parts, and the ledger that keeps them.

A picture is done, has a problem, or is not yet looked at. The first two are in a part. A holder, one lane of a gateway,
takes some of the others, asks, writes the answers to a file of lines, and commits that file as a part. A crash before
the commit leaves pictures with an expired lease: others take them. A picture that two holders have
answered belongs to the part that was committed first; the later part lists it as superseded.

A folder is the ledger of a bulk job, with chunks as parts: `ledger/folder.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from lexiseg_service.batch.ledger.quota import Amounts
from lexiseg_service.batch.sources.source import Picture, SourceKind
from lexiseg_service.errors import NotReady

T = TypeVar("T")
ADDING_SECONDS = 3600.0  # from `Ledger.add` to `Ledger.plan`; after it the gateway that added the job is gone
Notice = Literal["none", "due", "sent", "given up"]  # of the end of a job, to its webhook
RETRY_SECONDS = 30  # for clients, while the ledger or the disk is away
RECENT_SECONDS = 60.0  # over which the rate of a running job is measured


@dataclass(frozen=True)
class Webhook:
    """An address that is told of the end of a job, and the secret that signs what it is told."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Job:
    """What a client asked for; never changes."""

    id: str
    owner: str  # id of the API key
    client: str  # key or address, for limits and queues
    created: float  # seconds since the epoch
    total: int  # pictures
    kind: SourceKind
    root: str  # the folder or the archive; "" for URLs and tasks
    question: Mapping[str, Any]  # the fields of `Question` that were sent; what they named then is in a file
    classes: Sequence[str]  # labels by class_index
    to: str  # form of the results
    webhook: Webhook | None = None
    tool: str = ""  # what an adapter keeps with it


class Part(NamedTuple):
    """A file of answers, one line each."""

    name: str
    done: int
    failed: int
    superseded: Sequence[int] = ()  # numbers of pictures that an earlier part has
    at: float = 0.0  # seconds since the epoch


@dataclass(frozen=True)
class Progress:
    """Where a job stands. `rate`: pictures a second, lately."""

    done: int
    failed: int
    started: float | None = None
    ended: float | None = None
    rate: float = 0.0
    detail: str | None = None  # what holds it up
    notice: Notice = "none"
    n_delivered: int = 0  # answers that its notice has passed on, where it passes them on one after another


class OpenJob(NamedTuple):
    """A job that has pictures without an answer: what is asked of all of them, again and again."""

    id: str
    client: str
    left: int  # pictures without an answer
    created: float  # seconds since the epoch
    is_begun: bool  # a picture of it was taken


class Ledger(Protocol):
    """Jobs, pictures and parts. Methods block, and may be called by any thread.

    Raises, from every method:
        LedgerAway: nothing can be read or written now; the same call may be repeated.
    """

    def add(self, job: Job, n_bytes: int, limits: Amounts) -> Amounts | None:
        """Add a job without its pictures, in one step with a look at what its client has.

        Args:
            job: is erased after some time unless `plan` follows.
            n_bytes: of its archive.
            limits: of all jobs of its client, with this one.

        Returns:
            What the client has, if that leaves no room: nothing is added.
        """
        ...

    def plan(self, identity: str, pictures: Sequence[Picture]) -> bool:
        """Add the pictures of a job, which may be taken from now on; False: there is no such job."""
        ...

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        ...

    def job(self, identity: str) -> Job | None:
        """One job."""
        ...

    def open_jobs(self) -> list[OpenJob]:
        """The jobs that have pictures without an answer, the oldest first."""
        ...

    def progress(self, identity: str) -> Progress | None:
        """Where a job stands; None: there is no such job."""
        ...

    def beat(self, holders: Sequence[str], seconds: float) -> None:
        """Renew the leases of holders on everything that they hold."""
        ...

    def leave(self, holder: str) -> None:
        """End the lease of a holder."""
        ...

    def take(self, identity: str, holder: str, count: int) -> list[Picture]:
        """Take up to `count` pictures that nobody else holds; its own come again."""
        ...

    def commit(self, identity: str, name: str, outcomes: Mapping[int, bool], n_bytes: int) -> bool:
        """Record a file of answers: numbers of its pictures, each with whether it failed, and its size.

        Returns:
            False if there is no such job. A repeated call changes nothing.
        """
        ...

    def parts(self, identity: str, after: int = 0) -> list[Part]:
        """The parts of a job in the order of their commits, without the first `after`."""
        ...

    def note(self, identity: str, detail: str | None) -> None:
        """Record what holds a job up."""
        ...

    def due_notices(self, holder: str) -> list[str]:
        """Take the jobs that have ended, with a webhook that is not told yet, and a notice that nobody else has."""
        ...

    def noticed(self, identity: str, notice: Notice) -> None:
        """Record what became of a notice."""
        ...

    def record_delivered(self, identity: str, count: int) -> None:
        """Record how many answers the notice of a job has passed on: after a crash it goes on behind them."""
        ...

    def erase(self, identities: Sequence[str]) -> None:
        """Forget jobs, in one step, and record that their files are to be removed."""
        ...

    def erasures(self) -> Mapping[str, float]:
        """Ids of the jobs with files to be removed, and from when, in seconds since the epoch.

        A job that is added and not planned is one of them, from some time in the future.
        """
        ...

    def erased(self, identity: str) -> None:
        """Forget that files are to be removed."""
        ...

    def check(self) -> None:
        """Try whether something can be written."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class LedgerAway(Exception):
    """The ledger cannot be read or written now. The message says why."""


async def ask_ledger(call: Callable[..., T], *arguments: Any) -> T:
    """The result of a call of a ledger, in a thread.

    Raises:
        NotReady: the ledger is away.
    """
    try:
        return await asyncio.to_thread(call, *arguments)
    except LedgerAway as error:
        raise NotReady(f"jobs cannot be read or written now: {error}", RETRY_SECONDS) from None


def measured_since(started: float, now: float) -> float:
    """The beginning of the time over which the rate of a running job is measured."""
    return max(started, now - RECENT_SECONDS)


def rate_of(count: int, seconds: float) -> float:
    """Pictures a second."""
    return count / seconds if seconds > 0 else 0.0


def to_json(job: Job) -> str:
    """A job as a text, for a ledger."""
    return json.dumps(asdict(job))


def from_json(content: str | bytes) -> Job:
    """The job of a text of `to_json`."""
    values = json.loads(content)
    webhook = values.pop("webhook")
    return Job(**values, webhook=None if webhook is None else Webhook(**webhook))
