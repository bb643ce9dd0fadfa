"""Judge answers under faults: each must be the known one or a typed error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from lexiseg_service.errors import ServiceError
from lexiseg_service.wire.errors import read_error
from loadtests.plain_client import GONE, Response

VOLATILE_FIELDS = ("id", "timings_ms", "cache")  # of an answer: they differ from request to request
BUSY = frozenset({"queue-full", "rate-limited", "not-ready", "deadline-exceeded"})
MAX_SURPRISES = 50


def kinds() -> Mapping[str, int]:
    """The HTTP status of each type of error."""
    classes, statuses = [ServiceError], dict[str, int]()
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        if each is not ServiceError:
            statuses[each.type] = each.status
    return statuses


@dataclass
class Judge:
    """Counts answers by client, and keeps descriptions of those that are neither right nor a typed error."""

    kinds: Mapping[str, int] = field(default_factory=kinds)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def count(self, who: str, what: str) -> None:
        """Count an answer."""
        self.counts.setdefault(who, Counter())[what] += 1

    def right(self, who: str) -> int:
        """The number of right answers to a client."""
        return self.counts[who]["right"] if who in self.counts else 0

    def surprise(self, who: str, what: str) -> None:
        """Count and keep an answer that is neither right nor a typed error."""
        self.count(who, "surprise")
        if len(self.surprises) < MAX_SURPRISES:
            self.surprises.append(f"{who}: {what}")

    def rest(self, who: str, answer: Response, known: Any = None, *, may: frozenset[str] = BUSY) -> str:
        """Judge a REST response: right is a 200 that equals `known` (None: any), or an error of a type in `may`."""
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

    def call(self, who: str, failure: grpc.RpcError) -> None:
        """Judge a failed gRPC call, whose error must be of a type in BUSY."""
        assert isinstance(failure, grpc.aio.AioRpcError)
        error = read_error(failure)
        if error is not None:
            self._typed(who, error.type, error.status, BUSY)
        elif failure.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            self.count(who, "the client's own deadline")
        else:
            self.surprise(who, f"{failure.code()} without a type: {failure.details()}")

    def _typed(self, who: str, kind: str, status: int, may: frozenset[str]) -> str:
        if self.kinds.get(kind) != status:
            self.surprise(who, f"status {status} of type {kind!r}, expected {self.kinds.get(kind)}")
        elif kind not in may:
            self.surprise(who, f"{kind}, expected one of {', '.join(sorted(may))}")
        else:
            self.count(who, kind)
        return kind


def lasting(body: bytes) -> dict[str, Any]:
    """An answer's JSON without the fields that differ from request to request."""
    return {name: value for name, value in json.loads(body).items() if name not in VOLATILE_FIELDS}
