import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lexiseg_service.redis_link import COOL_DOWN_SECONDS, FAILURES, Breaker, RedisAway, RedisLink, State
from tests.waiting import SOON


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.failure()
    return breaker


def test_one_call_goes_through_after_the_cool_down(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += COOL_DOWN_SECONDS

    assert [breaker.allow(), breaker.allow()] == [True, False]
    assert breaker.state is State.HALF_OPEN


def test_a_trial_that_fails_opens_it_for_another_cool_down(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += COOL_DOWN_SECONDS
    breaker.allow()
    clock.now += 1
    breaker.failure()
    clock.now += COOL_DOWN_SECONDS - 0.1

    assert breaker.state is State.OPEN
    assert not breaker.allow()


def test_a_late_success_does_not_close_it(clock: Clock) -> None:
    breaker = opened(clock)
    breaker.success()

    assert breaker.state is State.OPEN


class Flood:
    """In place of a Redis: an answer that begins, and then the same bytes until the client hangs up."""

    def __init__(self, begins: bytes, goes_on: bytes) -> None:
        self._content = begins, goes_on
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.hung_up = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        begins, goes_on = self._content
        client, _ = self._listener.accept()
        with client, suppress(OSError):
            client.recv(4096)
            client.sendall(begins)
            while True:
                client.sendall(goes_on)
        self.hung_up.set()


@pytest.fixture(
    params=[
        pytest.param((b"$99999999999\r\n", bytes(65_536)), id="an endless value"),
        pytest.param((b"+", b"a" * 65_536), id="an endless line"),
        pytest.param((b"*999999999\r\n", b":1\r\n" * 16_384), id="an endless list"),
    ]
)
def flood(request: pytest.FixtureRequest) -> Iterator[Flood]:
    flood = Flood(*request.param)
    yield flood
    flood.close()


@pytest.mark.parametrize(("timeout", "most"), [(0.02, 2**40), (1000.0, 2**20)], ids=["in time", "in bytes"])
def test_a_redis_that_never_stops_sending_ends_a_call(
    flood: Flood, timeout: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.redis_link.MAX_BYTES", most)
    link = RedisLink(flood.url, timeout, Breaker())

    with pytest.raises(RedisAway):
        link.call(lambda redis: redis.get("a"))

    assert flood.hung_up.wait(SOON)
