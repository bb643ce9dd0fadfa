"""What an answer may be while everything goes wrong: the one that is known, or an error that says what it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from lexiseg_service.errors import ServiceError
from lexiseg_service.wire.errors import read_error
from loadtests.plain_client import GONE, Whole

OF_THE_OCCASION = ("id", "timings_ms", "cache")
BUSY = frozenset({"queue-full", "rate-limited", "not-ready", "deadline-exceeded"})
MAX_SURPRISES = 50


def kinds() -> Mapping[str, int]:
    """The statuses of all typed errors."""
    classes, found = [ServiceError], dict[str, int]()
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        if each is not ServiceError:
            found[each.type] = each.status
    return found


@dataclass
class Judge:
    """Counts answers by who asked, and keeps what should not have come."""

    kinds: Mapping[str, int] = field(default_factory=kinds)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def count(self, who: str, what: str) -> None:
        """One answer."""
        self.counts.setdefault(who, Counter())[what] += 1

    def right(self, who: str) -> int:
        """How many right answers somebody had."""
        return self.counts[who]["right"] if who in self.counts else 0

    def surprise(self, who: str, what: str) -> None:
        """One that is neither right nor an error with a type."""
        self.count(who, "surprise")
        if len(self.surprises) < MAX_SURPRISES:
            self.surprises.append(f"{who}: {what}")

    def rest(self, who: str, answer: Whole, known: Any = None, *, may: frozenset[str] = BUSY) -> str:
        """Over REST: a 200 that is `known` (anything, if that is None), or an error of a type that `may` be."""
        if answer.status == 200:
            content = lasting(answer.body)
            if known is not None and content != known:
                self.surprise(who, f"a wrong answer: {str(content)[:300]}")
            else:
                self.count(who, "right")
            return "right"
        if answer.status == GONE:
            self.surprise(who, "no answer")
            return "gone"
        try:
            kind = str(json.loads(answer.body)["type"])
        except (ValueError, KeyError, TypeError):
            self.surprise(who, f"{answer.status} without a type: {answer.body[:200]!r}")
            return "untyped"
        return self._typed(who, kind, answer.status, may)

    def call(self, who: str, failure: grpc.RpcError, *, may: frozenset[str] = BUSY) -> None:
        """Over gRPC: a failed call is an error of a type that `may` be."""
        assert isinstance(failure, grpc.aio.AioRpcError)
        error = read_error(failure)
        if error is not None:
            self._typed(who, error.type, error.status, may)
        elif failure.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            self.count(who, "the client's own deadline")
        else:
            self.surprise(who, f"{failure.code()} without a type: {failure.details()}")

    def _typed(self, who: str, kind: str, status: int, may: frozenset[str]) -> str:
        if self.kinds.get(kind) != status:
            self.surprise(who, f"{status} of type {kind!r}")
        elif kind not in may:
            self.surprise(who, f"{kind}, which nothing calls for")
        else:
            self.count(who, kind)
        return kind


def lasting(body: bytes) -> dict[str, Any]:
    """What of an answer does not depend on the occasion."""
    return {name: value for name, value in json.loads(body).items() if name not in OF_THE_OCCASION}
