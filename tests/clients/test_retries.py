"""When the client asks again: its steps, taken by hand."""

from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from lexiseg_client.calling import steps
from lexiseg_client.calling.steps import Call, Retry, Send, Wait
from lexiseg_client.errors import ProblemError, QueueFull, Unreachable
from lexiseg_client.rest import RestTransport, retry_after

GET = Send("GET", "/models")
WELL = httpx.Response(200, content=b"{}")


def refusal(status: int, kind: str, wait: str | None = None) -> httpx.Response:
    headers = {"content-type": "application/problem+json", **({} if wait is None else {"retry-after": wait})}
    return httpx.Response(status, headers=headers, json={"type": kind, "status": status, "detail": "no"})


FULL = refusal(429, "queue-full", "1")
NOT_READY = refusal(503, "not-ready")


@dataclass
class Hand:
    """Takes the steps of an exchange: gives it the outcomes in order, and its waits pass on a clock of its own."""

    outcomes: list[httpx.Response | Exception]
    now: float = 0.0
    waits: list[float] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def take(self, request: Send = GET, until: float = 60.0, **rule: Any) -> httpx.Response:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{steps.__name__}.time.monotonic", lambda: self.now)
            patch.setattr(f"{steps.__name__}.random.random", lambda: 0.0)
            return self._taken(RestTransport(Retry(**rule)).ask(request, lambda reply: reply, until))

    def _taken(self, call: Call[httpx.Response]) -> httpx.Response:
        step = next(call)
        while True:
            try:
                if isinstance(step, Wait):
                    self.waits.append(step.seconds)
                    self.now += step.seconds
                    step = call.send(None)
                    continue
                assert isinstance(step, Send)
                self.timeouts.append(step.timeout)
                outcome = self.outcomes.pop(0)
                step = call.throw(outcome) if isinstance(outcome, Exception) else call.send(outcome)
            except StopIteration as done:
                reply: httpx.Response = done.value
                return reply


def test_a_busy_server_is_asked_again_no_sooner_than_it_wants() -> None:
    hand = Hand([refusal(429, "queue-full", "7"), refusal(429, "rate-limited", "2"), NOT_READY, WELL])

    assert hand.take() is WELL
    assert hand.waits == [7.0, 2.0, 1.0]
    assert hand.timeouts == [60.0, 53.0, 51.0, 50.0]  # what remains


def test_what_cannot_end_in_time_is_not_waited_for() -> None:
    hand = Hand([refusal(429, "queue-full", "61")])

    with pytest.raises(QueueFull) as caught:
        hand.take()

    assert caught.value.retry_after == 61
    assert hand.waits == []


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (Unreachable("refused", is_sent=False), True),
        (Unreachable("gone", is_sent=True), False),
        (FULL, True),
        (NOT_READY, False),
    ],
)
def test_what_may_not_be_done_twice_is_tried_again_only_if_it_was_not_done(
    outcome: httpx.Response | Exception, again: bool
) -> None:
    hand = Hand([outcome, WELL])
    write = Send("PUT", "/vocabularies/a", {"If-None-Match": "*"}, repeatable=False)

    if again:
        assert hand.take(write) is WELL
    else:
        with pytest.raises((ProblemError, Unreachable)):
            hand.take(write)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("12") == 12
    assert retry_after(formatdate(1000, usegmt=True), now=lambda: 990.0) == 10
    assert retry_after(formatdate(1000, usegmt=True), now=lambda: 1010.0) == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None
