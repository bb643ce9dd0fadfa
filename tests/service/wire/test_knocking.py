"""Of some addresses a part of the connections is let in; real sockets."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lexiseg_service.wire.knocking import MOST_HOSTS, let_in_some
from lexiseg_service.wire.leaving import listeners

OWN, OTHER, NEWER = "127.0.0.9", "127.0.0.1", "::1"
A_TRY = 0.3  # seconds; a first packet is sent again after one
SURELY, NEVER = 10.0, 0.0

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system has no such filters")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def listening(opened: ExitStack) -> socket.socket:
    return opened.enter_context(socket.create_server((OTHER, 0)))


@pytest.fixture
def on_both(opened: ExitStack) -> socket.socket:
    """One that takes both versions of the internet protocol, as servers do that listen everywhere."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is one version here")
    return opened.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))


def is_let_in(listening: socket.socket, own: str, seconds: float = A_TRY) -> bool:
    port, host = listening.getsockname()[1], NEWER if ":" in own else OTHER
    try:
        with socket.create_connection((host, port), seconds, source_address=(own, 0)):
            return True
    except TimeoutError:
        return False


def test_one_address_is_kept_out_and_no_other(listening: socket.socket) -> None:
    assert let_in_some(listening, [OWN], NEVER)

    assert (is_let_in(listening, OWN), is_let_in(listening, OTHER, SURELY)) == (False, True)


def test_whoever_is_not_let_in_at_once_is_so_later(listening: socket.socket) -> None:
    let_in_some(listening, [OWN], 0.5)

    assert is_let_in(listening, OWN, 60.0)


def test_all_are_let_in_again(listening: socket.socket) -> None:
    let_in_some(listening, [OWN], NEVER)

    assert let_in_some(listening, [])

    assert is_let_in(listening, OWN, SURELY)


def test_addresses_of_both_versions_are_told_from_each_other(on_both: socket.socket) -> None:
    let_in_some(on_both, [f"::ffff:{OWN}"], NEVER)
    older = is_let_in(on_both, OWN), is_let_in(on_both, OTHER, SURELY), is_let_in(on_both, NEWER, SURELY)
    let_in_some(on_both, ["fe80::1%eth0", NEWER], NEVER)
    newer = is_let_in(on_both, OWN, SURELY), is_let_in(on_both, NEWER)

    assert (older, newer) == ((False, True, True), (True, False))


def test_the_latest_of_very_many_are_kept_out(listening: socket.socket) -> None:
    others = [f"127.1.{n // 256}.{n % 256}" for n in range(10 * MOST_HOSTS)] + [f"2001:db8:{n:x}::1" for n in range(99)]
    assert let_in_some(listening, [*others, "nowhere", OWN], NEVER)

    assert (is_let_in(listening, OWN), is_let_in(listening, OTHER, SURELY)) == (False, True)


def test_a_connection_that_was_let_in_goes_on(listening: socket.socket, opened: ExitStack) -> None:
    let_in_some(listening, [OWN], 1.0)
    client = opened.enter_context(socket.create_connection(listening.getsockname(), SURELY, source_address=(OWN, 0)))
    served = opened.enter_context(listening.accept()[0])
    let_in_some(listening, [OWN], NEVER)

    client.sendall(b"12345")

    assert served.recv(5, socket.MSG_WAITALL) == b"12345"


def test_what_listens_is_told_from_what_is_connected(listening: socket.socket, opened: ExitStack) -> None:
    opened.enter_context(socket.create_connection(listening.getsockname(), SURELY))
    opened.enter_context(listening.accept()[0])

    names = [each.getsockname() for each in listeners(listening.getsockname()[1])]

    assert names == [listening.getsockname()]
