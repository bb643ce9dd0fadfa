"""A bounded amount of something (bytes, calls, places) shared fairly between clients.

    wait, take -> Hold -> reduce_to (returns the part that is not needed) -> release

A client may hold a fraction of what the others leave: with one half, the first client gets a half, two clients a third
each. The last quarter is for clients that hold nothing yet: only halves leave less than one unit after a dozen
clients, and then nothing for the next one. A fair queue orders what waits; one that only waits for its own holds
does not block the others.

A request that holds something and needs more could wait for another one that waits for it. So the oldest hold, of all
and of each client, gets more at once: one request at a time goes beyond the total.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass

from lexiseg_service.errors import QueueFull, RateLimited, ServiceError
from lexiseg_service.fair_queue import FairQueue, Sender

RESERVE = 0.25  # of the total, for the first of each client
CLIENT_SHARE = 0.5  # of what others leave of bytes, calls or places, that one key or address may hold


class Hold(AbstractContextManager["Hold"]):
    """An amount that a client holds, released at the end of a `with`."""

    def __init__(self, shares: Shares, client: str, amount: int) -> None:
        self._shares = shares
        self._client = client
        self._amount = amount

    @property
    def amount(self) -> int:
        return self._amount

    async def grow_to(self, amount: int, seconds: float) -> None:
        """Take what lacks for `amount`, as soon as it is free and due."""
        more = await self._shares.wait(self._client, amount - self._amount, seconds, self)
        self._amount, more._amount = self._amount + more._amount, 0
        del self._shares._holds[more]

    def reduce_to(self, amount: int) -> None:
        """Return everything above `amount`."""
        if amount < self._amount:
            spare, self._amount = self._amount - amount, amount
            self._shares._release(self, self._client, spare)

    def release(self) -> None:
        self.reduce_to(0)

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(eq=False)
class _Waiter:
    client: str
    amount: int
    adds_to: Hold | None
    granted: asyncio.Future[Hold]


class Shares:
    """Counts on one event loop; a client may hold a fraction of what the others leave: above 0, up to 1."""

    def __init__(self, unit: str, total: int, fraction: float) -> None:
        self._unit = unit
        self._total = total
        self._fraction = fraction
        self._usage: Counter[str] = Counter()
        self._holds: dict[Hold, str] = {}  # that may grow, to the client, the oldest first
        self.in_use = 0  # by all clients
        self._waiting: FairQueue[_Waiter] = FairQueue()

    def take(self, client: str, amount: int = 1) -> Hold:
        """Take an amount at once, ahead of all waiters."""
        amount = self._bounded(amount)
        if (refusal := self._refusal(client, amount)) is not None:
            raise refusal
        return self._grant(client, amount)

    async def wait(self, client: str, amount: int, seconds: float, adds_to: Hold | None = None) -> Hold:
        """Take an amount as soon as it is free and due; `adds_to` is what the same request holds already."""
        amount = self._bounded(amount)
        if self._is_next(client, amount, adds_to) or (not self._waiting and self._refusal(client, amount) is None):
            return self._grant(client, amount)
        waiter = _Waiter(client, amount, adds_to, asyncio.get_running_loop().create_future())
        self._waiting.add(waiter, Sender(client))
        self._serve_waiters()
        try:
            await asyncio.wait([waiter.granted], timeout=seconds)
        except asyncio.CancelledError:
            if waiter.granted.done():
                waiter.granted.result().release()
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.drop(waiter)
                self._serve_waiters()
        if not waiter.granted.done():
            raise self._refusal(client, waiter.amount) or self._full()
        return waiter.granted.result()

    def _bounded(self, amount: int) -> int:
        # More than a client may ever hold is granted when the client holds nothing else.
        return min(amount, max(1, int(self._fraction * self._total)))

    def _share(self, client: str) -> int:
        """The amount that a client may hold now."""
        usage, left = self._usage[client], self._total - self.in_use
        before_reserve = usage + max(0, left - int(RESERVE * self._total))
        return max(1, min(int(self._fraction * (left + usage)), before_reserve))

    def _fits(self, client: str, amount: int) -> bool:
        usage = self._usage[client]
        return not usage or usage + amount <= self._share(client)

    def _is_next(self, client: str, amount: int, adds_to: Hold | None) -> bool:
        """Whether more for a hold is due: it is the oldest of all, or the client's oldest and there is room."""
        if adds_to is None or adds_to not in self._holds:
            return False
        if adds_to is next(iter(self._holds)):
            return True
        has_room = self.in_use + amount <= self._total
        return has_room and adds_to is next(hold for hold, owner in self._holds.items() if owner == client)

    def _refusal(self, client: str, amount: int) -> ServiceError | None:
        if not self._fits(client, amount):
            usage, share = self._usage[client], self._share(client)
            return RateLimited(f"this client holds {usage:,} {self._unit}, its share is {share:,} now")
        if self.in_use + amount > self._total:
            return self._full()
        return None

    def _full(self) -> QueueFull:
        return QueueFull(f"{self.in_use:,} {self._unit} are held, {self._total:,} is the limit")

    def grant(self, client: str, amount: int) -> Hold:
        """Take an amount whatever the limits, of what is there already and needs no more."""
        self._usage[client] += amount
        self.in_use += amount
        return Hold(self, client, amount)

    def _grant(self, client: str, amount: int) -> Hold:
        hold = self.grant(client, amount)
        if amount:
            self._holds[hold] = client
        return hold

    def _release(self, hold: Hold, client: str, amount: int) -> None:
        if not hold.amount:
            self._holds.pop(hold, None)
        self._usage[client] -= amount
        self.in_use -= amount
        if not self._usage[client]:
            del self._usage[client]
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        if not self._waiting:
            return
        for waiter in self._waiting:
            if self._is_next(waiter.client, waiter.amount, waiter.adds_to):
                self._serve(waiter)
        # If the next one must wait for room, so must smaller amounts, which would overtake it forever.
        while (due := self._waiting.next(self._has_share)) and self.in_use + due.amount <= self._total:
            self._serve(due)

    def _has_share(self, waiter: _Waiter) -> bool:
        return self._fits(waiter.client, waiter.amount)

    def _serve(self, waiter: _Waiter) -> None:
        self._waiting.take(waiter, waiter.amount)
        waiter.granted.set_result(self._grant(waiter.client, waiter.amount))
