"""Fair queue: who is served next, for the threads of every stage and for the device.

The client with the least use so far is next, and of its flows (small and large work, or streams and single images) the
flow with the least; within a flow the first to come. A new client or flow starts at the use of the one served last, so
a pause earns no credit. Work in the background waits until nothing else may be served.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)
MAX_NEW_PER_TURN = 8  # newcomers that may overtake one that waits: without a limit they would starve it


class Sender(NamedTuple):
    """The origin of an item: its client, one of the client's flows, and whether it is work in the background."""

    client: str
    flow: Hashable = ""
    background: bool = False

    @property
    def owner(self) -> tuple[bool, str]:
        """The client, whose work in the background counts apart."""
        return self.background, self.client


class _Use:
    """The use of each member, in any unit, on one clock: the use of the member served last."""

    def __init__(self) -> None:
        self.of: dict[Hashable, float] = {}
        self._clock = self._newest = self._unit = 0.0  # the unit is the latest amount

    def enter(self, member: Hashable) -> None:
        """Add a member unless it is there; newcomers start a little behind each other, at most one unit late."""
        if member not in self.of:
            later = self._newest + self._unit / MAX_NEW_PER_TURN
            self._newest = self.of[member] = min(max(self._clock, later), self._clock + self._unit)

    def serve(self, member: Hashable) -> None:
        """Set the clock to the use of a member that is served."""
        self._clock = max(self._clock, self.of[member])

    def charge(self, member: Hashable, amount: float) -> None:
        """Count what a member has used."""
        self._unit = amount
        self.of[member] = self.of.get(member, self._clock) + amount

    def keep(self, waiting: set[Hashable]) -> None:
        """Forget the members that do not wait and would start at the clock anyway."""
        self.of = {member: used for member, used in self.of.items() if member in waiting or used > self._clock}


class FairQueue(Generic[T]):
    """Items that wait. Not thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[Sender, tuple[list[T], list[T]]] = {}  # those that go ahead, then the others
        self._senders: dict[T, Sender] = {}
        self._owners = _Use()
        self._flows: dict[tuple[bool, str], _Use] = {}  # of one owner

    def __len__(self) -> int:
        return len(self._senders)

    def __contains__(self, item: object) -> bool:
        return item in self._senders

    def __iter__(self) -> Iterator[T]:
        """The items, in the order of their arrival."""
        return iter(tuple(self._senders))

    @property
    def n_remembered(self) -> int:
        """Clients and flows whose use is kept."""
        return len(self._owners.of) + sum(len(use.of) for use in self._flows.values())

    def sender_of(self, item: T) -> Sender:
        """The sender of an item that waits."""
        return self._senders[item]

    def put(self, item: T, sender: Sender, *, ahead: bool = False) -> None:
        """Add an item; with `ahead` before those of its flow that were added without."""
        self._owners.enter(sender.owner)
        self._flows_of(sender).enter(sender.flow)
        self._lines.setdefault(sender, ([], []))[not ahead].append(item)
        self._senders[item] = sender

    def next(self, may: Callable[[T], bool] = lambda item: True) -> T | None:
        """The item to serve next, of those that may be; it stays until it is taken or dropped."""
        firsts = ((sender, next(filter(may, chain(*line)), None)) for sender, line in self._lines.items())
        ready = {sender: item for sender, item in firsts if item is not None}
        if not ready:
            return None
        owner = min((sender.owner for sender in ready), key=lambda owner: (owner[0], self._owners.of[owner]))
        use = self._flows[owner].of
        return ready[min((sender for sender in ready if sender.owner == owner), key=lambda sender: use[sender.flow])]

    def take(self, item: T) -> None:
        """Remove the item that is served; `charge` its sender, now or when the amount is known."""
        self.serve(item)
        self.drop(item)

    def serve(self, item: T) -> None:
        """Serve a part of an item, which keeps its place."""
        sender = self._senders[item]
        self._owners.serve(sender.owner)
        self._flows_of(sender).serve(sender.flow)

    def drop(self, item: T) -> None:
        """Remove an item that is not served any more."""
        sender = self._senders.pop(item)
        line = self._lines[sender]
        line[item not in line[0]].remove(item)
        if not any(line):
            del self._lines[sender]

    def charge(self, sender: Sender, amount: float) -> None:
        """Count what an item of a sender has used."""
        self._owners.charge(sender.owner, amount)
        self._flows_of(sender).charge(sender.flow, amount)
        self._flows_of(sender).keep({other.flow for other in self._lines if other.owner == sender.owner})
        self._owners.keep({other.owner for other in self._lines})
        for owner in self._flows.keys() - self._owners.of.keys():
            del self._flows[owner]

    def _flows_of(self, sender: Sender) -> _Use:
        return self._flows.setdefault(sender.owner, _Use())
