"""All connections of HTTP: how many there are, of each address too, and the clock that looks at each of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.errors import QueueFull, RateLimited, ServiceError
from lexiseg_service.gateway.admission.limits import client_of
from lexiseg_service.gateway.rest import problem
from lexiseg_service.gateway.turns import OneInAWhile
from lexiseg_service.settings import Settings

LOOK_SECONDS = 0.25
RESERVE = 32  # connections beyond a bound that are let in to hear so, and for probes
PROBES = frozenset({"/livez", "/readyz"})
RETRY_SECONDS = 1


@dataclass(frozen=True)
class Patience:
    """Seconds for what a client is to do; `pace` in bytes a second."""

    head: float
    body: float
    pace: int
    keep_alive: int

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As the settings say."""
        return cls(settings.head_seconds, settings.body_seconds, settings.body_pace, settings.keep_alive_seconds)


class Watched(Protocol):
    """A connection."""

    @property
    def idle(self) -> bool: ...

    def look(self, seconds: float) -> None: ...

    def leave(self) -> None: ...

    def give_up(self) -> None: ...

    def close_idle(self) -> None: ...


class Known(NamedTuple):
    """What is known of an open connection."""

    client: str
    since: float  # by the event loop's clock


class Connections:
    """On one event loop. `ended` hears why one was ended that its client would have kept."""

    def __init__(self, settings: Settings, ended: Callable[[str], None] = lambda _: None) -> None:
        self.patience = Patience.of(settings)
        self.ended = ended
        self.leaving = False
        self._most = settings.max_connections
        self._most_of_one = settings.max_address_connections
        self._open: dict[Watched, Known] = {}  # oldest first
        self._of_each: Counter[str] = Counter()
        self._hasty = OneInAWhile()
        self._looked = 0.0
        self._looking = False

    def __len__(self) -> int:
        return len(self._open)

    def leave(self) -> None:
        """The process goes down: from now on each answer says that it is the last of its connection."""
        self.leaving = True
        for connection in self._open:
            connection.leave()

    def give_up(self) -> None:
        """The process has no more time for those that are still being answered."""
        for connection in tuple(self._open):
            connection.give_up()

    def add(self, connection: Watched, address: str | None) -> bool:
        """Counts a connection from now on; False where there are so many that it cannot even be told."""
        loop = asyncio.get_running_loop()
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_SECONDS, self._look, loop)
        client = client_of(None, address)
        self._open[connection] = Known(client, loop.time())
        self._of_each[client] += 1
        if len(self._open) > self._most:
            self._make_room()
        if len(self._open) > self._most + RESERVE or self._of_each[client] > self._most_of_one + RESERVE:
            self.ended("crowd")
            return False
        return True

    def remove(self, connection: Watched) -> None:
        """Counts it no more."""
        known = self._open.pop(connection, None)
        if known is not None:
            self._of_each[known.client] -= 1
            if not self._of_each[known.client]:
                del self._of_each[known.client]

    def crowd(self, connection: Watched, app: ASGIApp) -> ASGIApp | None:
        """What a connection too many gets instead of the application; None for all others."""
        n_own = self._of_each[self._open[connection].client]
        if n_own > self._most_of_one:
            why = f"{n_own:,} connections from this address are open, {self._most_of_one:,} is the limit"
            return self._refusing(app, RateLimited(why, RETRY_SECONDS))
        if len(self._open) > self._most:
            why = f"{len(self._open):,} connections are open, {self._most:,} is the limit"
            return self._refusing(app, QueueFull(why, RETRY_SECONDS))
        return None

    def in_turn(self, connection: Watched, app: ASGIApp) -> ASGIApp:
        """The application for one who has asked for more small things than anybody needs, one after the other."""
        known = self._open.get(connection)
        client = "" if known is None else known.client

        async def wait(scope: Scope, receive: Receive, send: Send) -> None:
            await self._hasty.of(client)
            await app(scope, receive, send)

        return wait

    def _refusing(self, app: ASGIApp, error: ServiceError) -> ASGIApp:
        answer = problem.response(error, None)
        answer.headers["connection"] = "close"

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in PROBES:  # a crowd is no reason to be restarted
                await app(scope, receive, send)
                return
            self.ended("crowd")
            await answer(scope, receive, send)

        return refuse

    def _make_room(self) -> None:
        idle = next((connection for connection in self._open if connection.idle), None)
        if idle is not None:
            self.remove(idle)
            idle.close_idle()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nobody is late because we were: of a long pause between two looks little counts, and of what was before a
        connection came nothing."""
        now = loop.time()
        counted, self._looked = max(self._looked, now - 2 * LOOK_SECONDS), now
        for connection, known in tuple(self._open.items()):
            connection.look(now - max(counted, known.since))
        self._looking = bool(self._open)
        if self._looking:
            loop.call_later(LOOK_SECONDS, self._look, loop)
