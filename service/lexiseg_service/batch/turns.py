"""Turns of jobs: which job a free lane of this gateway takes pictures from.

Lanes go by client, then by job. A client holds at most half of the lanes that others leave, so that a lane is free for
one that comes, however many jobs the others have. Of the clients that may have one more, the fair queue names the one
that was given the fewest pictures so far, and of its jobs the one likewise. One at its rate or quota gives way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from lexiseg_service.batch.ledger.job import OpenJob
from lexiseg_service.errors import QueueFull, RateLimited
from lexiseg_service.fair_queue import FairQueue, Sender
from lexiseg_service.shares import CLIENT_SHARE, Hold, Shares

LANES = 16  # pictures of jobs that a gateway has in flight; a client without others has half of them

MAX_PAUSE_SECONDS = 30.0


class Turns:
    """The lanes of one gateway, and the jobs that wait for one. Not thread-safe."""

    def __init__(self) -> None:
        self._lanes = Shares("lanes", LANES, CLIENT_SHARE)
        self._jobs: FairQueue[str] = FairQueue()
        self._left: dict[str, int] = {}  # pictures without an answer, by job
        self._paused: dict[str, float] = {}  # clients at their rate or quota, until a monotonic time
        self._empty: set[str] = set()  # jobs with all pictures held, when last looked at
        self.is_crowded = False  # a client has no lane while others hold all

    def look(self, jobs: Sequence[OpenJob]) -> None:
        """Take note of the jobs that have pictures without an answer."""
        self._empty.clear()
        now = time.monotonic()
        self._paused = {client: until for client, until in self._paused.items() if until > now}
        self._left = {job.id: job.left for job in jobs}
        for ended in [identity for identity in self._jobs if identity not in self._left]:
            self._jobs.drop(ended)
        for job in jobs:
            if job.id not in self._jobs:
                self._jobs.add(job.id, Sender(job.client, job.id))

    def next(self) -> tuple[str, int, Hold] | None:
        """The job that is next, its pictures without an answer, and the lane, which the caller releases."""
        self.is_crowded = False
        served: set[str] = set()  # clients that have their share of the lanes
        while (identity := self._jobs.next(lambda each: self._may(each, served))) is not None:
            client = self._jobs.sender_of(identity).client
            try:
                return identity, self._left[identity], self._lanes.take(client)
            except RateLimited:
                served.add(client)
            except QueueFull:
                self.is_crowded = True
                break
        return None

    def _may(self, identity: str, served: set[str]) -> bool:
        client = self._jobs.sender_of(identity).client
        return identity not in self._empty and client not in served and client not in self._paused

    def pause(self, client: str, seconds: float) -> None:
        """Give a client no lane for some time, at most `MAX_PAUSE_SECONDS`."""
        self._paused[client] = time.monotonic() + min(seconds, MAX_PAUSE_SECONDS)

    def record_assignment(self, identity: str, count: int) -> None:
        """Count the pictures that a lane was given; none: the job has no free ones until the next look."""
        if not count:
            self._empty.add(identity)
        elif identity in self._jobs:
            self._jobs.serve(identity, count)
