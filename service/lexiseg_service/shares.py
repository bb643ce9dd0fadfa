"""Something of which there is so much for all clients together, and of that a part for each: bytes, calls, places.

    wait, take -> Hold -> keep (what turned out to be more than needed goes back) -> release

A client may hold a part of what the others leave: of a half, one gets a half, two a third each, and there is always
something left for the next, however long the others keep theirs. Who waits is let in in order; who only waits for what
it holds itself keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from types import TracebackType

from lexiseg_service.errors import QueueFull, RateLimited, ServiceError

RETRY_SECONDS = 1
CLIENT_SHARE = 0.5  # of what others leave of calls, bytes or streams, that one key or address may hold


class Hold:
    """What one client has taken; given back at the end of a `with`."""

    def __init__(self, shares: Shares, client: str, amount: int) -> None:
        self._shares = shares
        self._client = client
        self._amount = amount

    def keep(self, amount: int) -> None:
        """Gives back what is more than `amount`."""
        if amount < self._amount:
            spare, self._amount = self._amount - amount, amount
            self._shares._give_back(self._client, spare)

    def release(self) -> None:
        """Gives everything back; a second time is none."""
        self.keep(0)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


@dataclass(eq=False)
class _Waiter:
    client: str
    amount: int
    turn: asyncio.Future[Hold]


class Shares:
    """Counts on one event loop.

    Args:
        what: is counted, in the plural, as a refusal names it.
        total: of it for all.
        part: of what the others leave that one client may hold, above 0, up to 1; at least one of whatever it is.
    """

    def __init__(self, what: str, total: int, part: float) -> None:
        self._what = what
        self._total = total
        self._part = part
        self._held: Counter[str] = Counter()
        self._in_use = 0
        self._waiting: list[_Waiter] = []

    @property
    def in_use(self) -> int:
        """What all clients hold."""
        return self._in_use

    def take(self, client: str, amount: int = 1) -> Hold:
        """Takes it at once, past those who wait.

        Raises:
            RateLimited: the client holds its part.
            QueueFull: all clients together hold everything.
        """
        amount = self._bounded(amount)
        if (refusal := self._refusal(client, amount)) is not None:
            raise refusal
        return self._grant(client, amount)

    async def wait(self, client: str, amount: int, seconds: float) -> Hold:
        """Takes it when there is so much, and whoever came before has had a turn.

        Raises:
            RateLimited: the client held its part all the time.
            QueueFull: all clients together held too much all the time.
        """
        amount = self._bounded(amount)
        if not self._waiting and self._refusal(client, amount) is None:  # as nearly always
            return self._grant(client, amount)
        waiter = _Waiter(client, amount, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._let_in()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.turn
        except TimeoutError:
            if waiter.turn.done() and not waiter.turn.cancelled():  # in the same moment
                return waiter.turn.result()
            raise self._refusal(client, waiter.amount) or self._full() from None
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                waiter.turn.result().release()
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._let_in()  # who stood behind it

    def _bounded(self, amount: int) -> int:
        # What is more than a client may ever hold passes when the client holds nothing else.
        return min(amount, max(1, int(self._part * self._total)))

    def _most(self, client: str) -> int:
        """As much as a client may hold now."""
        return max(1, int(self._part * (self._total - self._in_use + self._held[client])))

    def _fits(self, client: str, amount: int) -> bool:
        held = self._held[client]
        return not held or held + amount <= self._most(client)

    def _refusal(self, client: str, amount: int) -> ServiceError | None:
        if not self._fits(client, amount):
            held, most = self._held[client], self._most(client)
            return RateLimited(f"this client holds {held:,} {self._what} of {most:,} that one may now", RETRY_SECONDS)
        if self._in_use + amount > self._total:
            return self._full()
        return None

    def _full(self) -> QueueFull:
        return QueueFull(f"{self._in_use:,} {self._what} are held, {self._total:,} is the limit", RETRY_SECONDS)

    def _grant(self, client: str, amount: int) -> Hold:
        self._held[client] += amount
        self._in_use += amount
        return Hold(self, client, amount)

    def _give_back(self, client: str, amount: int) -> None:
        self._held[client] -= amount
        self._in_use -= amount
        if not self._held[client]:
            del self._held[client]
        self._let_in()

    def _let_in(self) -> None:
        for waiter in tuple(self._waiting):
            if self._in_use + waiter.amount > self._total:
                return  # smaller ones must not pass it for ever
            if self._fits(waiter.client, waiter.amount) and not waiter.turn.done():
                self._waiting.remove(waiter)
                waiter.turn.set_result(self._grant(waiter.client, waiter.amount))
