"""The operations on jobs, for all protocols: create, look up, read results, remove."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import structlog

from lexiseg_model.files.atomic import private_folder
from lexiseg_service.batch import question_copy
from lexiseg_service.batch.description import JobInput, stored
from lexiseg_service.batch.files import Files, open_store, question_path
from lexiseg_service.batch.formats import check_fits
from lexiseg_service.batch.http.notices import Notices, Send, WebhookSender
from lexiseg_service.batch.ledger.job import (
    UNENDED,
    Job,
    Ledger,
    Part,
    Progress,
    Webhook,
    ask_ledger,
)
from lexiseg_service.batch.loop import Fetch
from lexiseg_service.batch.runner import POLL_SECONDS, Runner, part_path
from lexiseg_service.batch.sources.source import FOLDER, Picture, SourceKind, allowed, in_archive, in_folder, numbered
from lexiseg_service.errors import InvalidValue, NotReady, TooLarge, UnknownJob, UrlFetchOff
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.times import expiry, has_passed, rfc3339
from lexiseg_service.gateway.uploaded_archive import ARCHIVE
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.records.redis_store import RedisStore
from lexiseg_service.records.sqlite import FILE, opening
from lexiseg_service.records.store import Amounts, Quota
from lexiseg_service.redis_link import open_link
from lexiseg_service.retries import AWAY_SECONDS, for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.watch.checks import check_folder
from lexiseg_service.watch.collectors import JOBS, Gauges, Values
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.jobs")
ID_BYTES = 12
MAX_UNENDED = 16  # jobs of one key or address
QUOTA_SECONDS = 60
REPEAT_SECONDS = 30.0  # between attempts to erase
SWEEP_SECONDS = 600.0  # between looks for jobs that have expired
RECORD_SECONDS = 3600.0  # that an erasure is repeated, also after it succeeded: longer than a lane writes a file
SOURCE = "one of `urls`, `folder` and the file `archive`"


class Tasks(NamedTuple):
    """Pictures that a tool names."""

    kind: SourceKind  # of their fetcher
    places: Sequence[tuple[str, str]]  # names and places
    tool: str  # what the adapter keeps with the job
    notice_to: str | None = None  # address that the adapter tells of the end, see `Jobs.join`


class Eraser:
    """Erases jobs of one ledger; by itself the ones that ended `keep_days` ago.

    An erasure is recorded first, so that the job is gone for everybody, then repeated by any gateway until no file is
    left: a lane may write one after the first attempt, an attempt may fail, and its gateway may end.
    """

    def __init__(self, ledger: Ledger, files: Files, keep_days: float) -> None:
        self._ledger = ledger
        self._files = files
        self._keep_days = keep_days
        self.failing: set[str] = set()  # recorded jobs with files that cannot be removed at present

    def expiry(self, progress: Progress) -> float | None:
        """When a job of that progress expires, in seconds since the epoch; None: it has not ended."""
        return expiry(progress.ended, self._keep_days)

    def has_expired(self, progress: Progress) -> bool:
        """Whether nobody may see a job of that progress any more, though it is not erased yet."""
        return has_passed(self.expiry(progress))

    async def erase(self, identities: Sequence[str]) -> None:
        """Erase jobs: when it returns, they are gone, and their files as far as that can be done now."""
        try:
            await ask_ledger(self._ledger.erase, identities)
        except NotReady:  # perhaps the disk is full: their files make room
            await self._remove(identities)
            await ask_ledger(self._ledger.erase, identities)
        await self._remove(identities)

    async def go_on(self) -> None:
        """Remove the files of recorded jobs."""
        recorded = await ask_ledger(self._ledger.erasures)
        due = {identity: since for identity, since in recorded.items() if since <= time.time()}
        self.failing &= due.keys()
        await self._remove(tuple(due))
        for identity, since in due.items():
            if await ask_ledger(self._ledger.job, identity) is not None:  # added and never planned: its gateway is gone
                await ask_ledger(self._ledger.erase, [identity])
            elif identity not in self.failing and since + RECORD_SECONDS < time.time():
                await ask_ledger(self._ledger.record_erased, identity)

    async def erase_expired(self) -> None:
        progress = await ask_ledger(self._ledger.all_progress)
        expired = [identity for identity, each in progress.items() if self.has_expired(each)]
        if expired:
            await self.erase(expired)

    async def _remove(self, identities: Sequence[str]) -> None:
        for identity in identities:
            try:
                await asyncio.to_thread(self._files.remove, identity)
                self.failing.discard(identity)
            except Exception as error:  # of the disk, or the library of a store
                logger.warning("files of a job cannot be removed yet", job=identity, error=str(error))
                self.failing.add(identity)


class Jobs:
    """The jobs of an installation."""

    def __init__(self, settings: Settings, use_case: UseCase, access: AccessControl, metrics: Metrics) -> None:
        self._settings = settings
        self._use_case = use_case
        if settings.job_files is None:
            self._files = Files(str(_state_dir(settings, "LEXISEG_JOB_FILES") / "jobs"), "LEXISEG_STATE_DIR")
        else:
            self._files = Files(settings.job_files, "LEXISEG_JOB_FILES")
        self.ledger, self._earlier = _open_ledger(settings, metrics)
        self._runner = Runner(self.ledger, self._files, use_case, access.limits, settings, metrics)
        self._webhooks = WebhookSender(settings)
        self._notices = Notices(self.ledger, self._webhooks, self.output, metrics, self._runner.holders)
        self._eraser = Eraser(self.ledger, self._files, settings.keep_days)
        metrics.registry.register(Gauges(JOBS, self._gauges))
        use_case.checks.add("jobs", self.ledger.check)
        if self._files.folder is not None:
            use_case.checks.add("files of jobs", partial(check_folder, self._files.folder))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        with suppress(NotReady):
            if earlier := await ask_ledger(self._earlier):
                logger.warning("jobs of release 0.4 are not worked on", jobs=earlier)
        self._runner.start()
        work = (
            for_ever(self._eraser.go_on, REPEAT_SECONDS),
            for_ever(self._eraser.erase_expired, SWEEP_SECONDS),
            for_ever(self._notices.look, POLL_SECONDS),
        )
        self._tasks = [asyncio.create_task(endless) for endless in work]

    async def close(self) -> None:
        """Let the pictures in flight end, and leave the rest to other gateways."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await self._notices.close()
            await self._runner.close(self._settings.drain_seconds)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.ledger.close)

    def join(self, kind: SourceKind, fetch: Fetch, send: Send) -> None:
        """Have an adapter fetch the pictures of a kind of source, and tell of the end of its jobs."""
        self._runner.pictures.fetches[kind] = fetch
        self._notices.senders[kind] = send

    async def create(
        self, body: JobInput, archive: BinaryIO | None, caller: Caller, tasks: Tasks | None = None
    ) -> tuple[Job, Progress]:
        if [body.urls, body.folder, archive, tasks].count(None) != 3:
            sources = [name for name, value in (("urls", body.urls), ("folder", body.folder)) if value is not None]
            raise InvalidValue.of("urls", ", ".join(sources + [ARCHIVE] * (archive is not None)) or "none", SOURCE)
        if body.urls is not None and not self._settings.takes_urls:
            raise UrlFetchOff(
                "urls: LEXISEG_URL_NETWORKS names no host, so no image is fetched by URL; send an archive"
            )
        question = stored(body.question)
        if body.webhook is not None:
            await self._webhooks.check(body.webhook.url, caller.client)
        copy = await question_copy.copied(self._use_case, body.question, caller)
        classes = [entry.name for entry in copy.request.vocabulary.classes]
        check_fits(body.to, question, classes)
        webhook = None if body.webhook is None else Webhook(body.webhook.url, body.webhook.secret)
        if tasks is not None and tasks.notice_to is not None:
            webhook = Webhook(tasks.notice_to, "")
        identity = secrets.token_urlsafe(ID_BYTES)
        kind, root, pictures = await asyncio.to_thread(self._listed, identity, body, archive, tasks)
        job = Job(
            identity,
            caller.owner,
            caller.client,
            time.time(),
            len(pictures),
            kind,
            root,
            question,
            classes,
            body.to,
            webhook,
            "" if tasks is None else tasks.tool,
        )
        await self._add(job, pictures, archive, question_copy.encode(copy))
        self._runner.wake()
        return job, Progress.of(job)

    def _listed(
        self, identity: str, body: JobInput, archive: BinaryIO | None, tasks: Tasks | None
    ) -> tuple[SourceKind, str, list[Picture]]:
        max_pictures = self._settings.job_pictures
        if tasks is not None:
            return tasks.kind, "", numbered((Picture(*each) for each in tasks.places), max_pictures, "tasks")
        if body.urls is not None:
            return "urls", "", numbered((Picture(url, url) for url in body.urls), max_pictures, "urls")
        try:
            if body.folder is not None:
                folder = allowed(body.folder, self._settings.job_folders)
                store, root = open_store(folder, FOLDER)
                if not store.isdir(root):
                    raise InvalidValue.of(FOLDER, folder, "a folder or prefix that exists")
                return "folder", folder, numbered(in_folder(store, root), max_pictures, FOLDER)
            assert archive is not None
            kind, members = in_archive(archive, max_pictures)
            pictures = numbered(members, max_pictures, ARCHIVE)
            name = f"{identity}/{ARCHIVE}"
            return kind, self._files.address(name), pictures
        except OSError as error:
            raise NotReady(f"the pictures cannot be listed now: {error.strerror or error}", AWAY_SECONDS) from None

    async def _add(self, job: Job, pictures: Sequence[Picture], archive: BinaryIO | None, question: bytes) -> None:
        """Add a job to the ledger, within its client's limits, then its question and archive, then its pictures."""
        n_bytes = len(question) + (0 if archive is None else archive.seek(0, 2))
        limits = Amounts(MAX_UNENDED, self._settings.jobs_per_client, self._settings.job_bytes_per_client)
        if n_bytes > limits.nbytes:
            raise TooLarge(
                f"question and archive have {n_bytes:,} bytes, the jobs of one client at most {limits.nbytes:,} "
                "together (LEXISEG_JOB_BYTES_PER_CLIENT)"
            )
        excess = await ask_ledger(self.ledger.add, job, n_bytes, Quota(limits, unended_states=UNENDED))
        if excess is not None:
            raise excess.refusal("jobs", "questions, archives and results", QUOTA_SECONDS)
        try:
            await asyncio.to_thread(self._files.write, question_path(job.id), question)
            if archive is not None:
                await asyncio.to_thread(self._files.copy, f"{job.id}/{ARCHIVE}", archive)
            if not await ask_ledger(self.ledger.plan, job.id, pictures):
                raise NotReady("the job was removed while it was added", AWAY_SECONDS)
        except BaseException as error:
            with suppress(NotReady):
                await self._eraser.erase([job.id])
            if isinstance(error, OSError):
                raise NotReady(f"the pictures cannot be kept now: {error.strerror or error}", AWAY_SECONDS) from None
            raise

    async def find(self, identity: str, caller: Caller) -> tuple[Job, Progress]:
        job = await ask_ledger(self.ledger.job, identity)
        progress = None if job is None else await ask_ledger(self.ledger.progress, identity)
        if job is None and identity in await ask_ledger(self._earlier):
            raise UnknownJob("this job is of release 0.4, and is kept as it was: end or read it by that release")
        may_see = job is not None and (job.owner == caller.owner or caller.admin)
        if job is None or progress is None or not may_see or self._eraser.has_expired(progress):
            raise UnknownJob("there is no such job of this key; it may have been removed")
        return job, progress

    async def standing(self, identity: str, caller: Caller) -> dict[str, Any]:
        return self.output(*await self.find(identity, caller))

    async def list_all(self, caller: Caller) -> list[tuple[Job, Progress]]:
        """The jobs of a caller that have not expired, the oldest first."""
        jobs = [job for job in await ask_ledger(self.ledger.jobs) if job.owner == caller.owner]
        progress = await ask_ledger(self.ledger.all_progress)
        present = [(job, progress[job.id]) for job in jobs if job.id in progress]
        return [(job, each) for job, each in present if not self._eraser.has_expired(each)]

    async def remove(self, identity: str, caller: Caller) -> None:
        """End a job, and erase it with its archive and its results."""
        await self.find(identity, caller)
        await self._eraser.erase([identity])
        self._runner.wake()  # forgets it, too

    async def remove_all(self, caller: Caller) -> int:
        jobs = await ask_ledger(self.ledger.jobs)
        own = [job.id for job in jobs if job.owner == caller.owner]
        await self._eraser.erase(own)
        self._runner.wake()
        return len(own)

    def lines(self, job: Job, parts: Iterable[Part]) -> Iterator[bytes]:
        """The lines of some parts, as JSON; blocks while they are read."""
        for part in parts:
            superseded = set(part.superseded)
            for line in self._files.read(part_path(job.id, part.name)).splitlines(keepends=True):
                if not superseded or orjson.loads(line)["number"] not in superseded:
                    yield line

    def output(self, job: Job, progress: Progress) -> dict[str, Any]:
        ended, rate = progress.ended, progress.rate(time.time())
        left = 0.0 if ended is not None else progress.left / rate if rate else None
        state = "waiting" if progress.started is None else "running" if ended is None else "done"
        return {
            "id": job.id,
            "state": state,
            "total": job.total,
            "done": progress.done,
            "failed": progress.failed,
            "per_minute": round(60 * rate, 1),
            "seconds_left": None if left is None else round(left, 1),
            "created": rfc3339(job.created),
            "ended": rfc3339(ended),
            "expires": rfc3339(self._eraser.expiry(progress)),
            "to": job.to,
            "classes": job.classes,
            "detail": None if ended is not None else self._runner.detail(job.id) or progress.detail,
            "webhook": progress.notice,
        }

    def _gauges(self) -> Values:
        jobs = self._runner.open
        waiting = [job.created for job in jobs.values() if job.started is None]
        values: dict[str, Any] = {
            "lexiseg_jobs_open": {"waiting": len(waiting), "running": len(jobs) - len(waiting)},
            "lexiseg_jobs_oldest_waiting_seconds": max(0.0, time.time() - min(waiting)) if waiting else 0.0,
            "lexiseg_jobs_held_up": self._runner.held_up,
            "lexiseg_jobs_erasures_failing": len(self._eraser.failing),
        }
        with suppress(OSError):
            if self._files.folder is not None:  # no object store
                disk = shutil.disk_usage(self._files.folder)
                values |= {"lexiseg_jobs_disk_free_bytes": disk.free, "lexiseg_jobs_disk_bytes": disk.total}
        return values


def _open_ledger(settings: Settings, metrics: Metrics) -> tuple[Ledger, Callable[[], list[str]]]:
    """The ledger, and what gives the ids of jobs that 0.4 stored: they stay where they are."""
    if settings.redis_url is not None:
        in_redis = RedisStore(open_link(settings, "jobs", metrics))
        earlier = methodcaller("zrange", "lexiseg:jobs", 0, -1)
        return Ledger(in_redis), lambda: [identity.decode() for identity in in_redis.ask(earlier)]
    folder = _state_dir(settings, "LEXISEG_REDIS_URL")
    with opening(folder / FILE) as store:
        return Ledger(store), partial(_jobs_in, folder / "jobs.sqlite")


def _jobs_in(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path)) as file:
            return [identity for (identity,) in file.execute("SELECT id FROM jobs")]
    except sqlite3.Error as error:  # a damaged file is no reason to refuse other ids
        logger.warning("jobs of release 0.4 cannot be read", file=path.name, error=str(error))
        return []


def _state_dir(settings: Settings, other: str) -> Path:
    if settings.state_dir is None:
        raise InvalidValue.of("LEXISEG_JOBS", "true", f"LEXISEG_STATE_DIR, or {other}, beside it")
    private_folder(settings.state_dir)
    return settings.state_dir.absolute()
