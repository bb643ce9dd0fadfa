import asyncio
import contextlib

import pytest

from lexiseg_service.errors import QueueFull, RateLimited
from lexiseg_service.shares import Shares
from tests.waiting import SOON

AT_ONCE = 0.01


def test_two_at_their_limits_leave_something_for_a_third() -> None:
    shares = Shares("bytes", 512, 0.5)
    for _ in range(256):
        for client in ("one", "other"):
            with contextlib.suppress(RateLimited):
                shares.take(client)

    assert shares.in_use < 350
    assert shares.take("third", 64)


@pytest.mark.parametrize("n_clients", [3, 20, 100])
def test_many_at_their_limits_leave_something_for_the_next_one(n_clients: int) -> None:
    shares = Shares("requests", 800, 0.5)
    for number in range(n_clients):
        for _ in range(200):
            with contextlib.suppress(RateLimited):
                shares.take(str(number))

    assert shares.take("next")


def test_what_is_released_can_be_taken_again_and_is_released_once() -> None:
    shares = Shares("places", 1, 1)
    with shares.take("one") as hold:
        hold.release()
        assert shares.in_use == 0
        other = shares.take("other")
    assert shares.in_use == 1
    other.release()


def test_more_than_a_client_may_ever_hold_passes_while_it_holds_nothing_else() -> None:
    shares = Shares("bytes", 100, 0.5)
    hold = shares.take("one", 1000)

    assert shares.in_use == 50
    with pytest.raises(RateLimited):
        shares.take("one", 1)
    hold.reduce_to(1000)
    assert shares.in_use == 50


async def test_waiters_are_served_in_order() -> None:
    shares = Shares("bytes", 100, 1)
    first = shares.take("one", 100)
    order: list[str] = []

    async def ask(client: str, amount: int) -> None:
        with await shares.wait(client, amount, SOON):
            order.append(client)

    # The small one would fit sooner, and would push the large one aside for ever if others like it came.
    waiting = [asyncio.create_task(ask("large", 90)), asyncio.create_task(ask("small", 20))]
    await asyncio.sleep(0)
    first.reduce_to(50)
    assert order == []
    first.release()
    await asyncio.wait_for(asyncio.gather(*waiting), SOON)

    assert order == ["large", "small"]
    assert shares.in_use == 0


async def test_a_waiter_for_its_own_holds_does_not_block_others() -> None:
    shares = Shares("bytes", 100, 0.5)
    shares.take("greedy", 50)
    greedy = asyncio.create_task(shares.wait("greedy", 10, SOON))
    await asyncio.sleep(0)

    assert await shares.wait("other", 50, AT_ONCE)
    greedy.cancel()


async def test_waiting_ends_with_the_reason() -> None:
    shares = Shares("bytes", 100, 0.5)
    shares.take("one", 50)
    with pytest.raises(RateLimited):
        await shares.wait("one", 1, AT_ONCE)
    shares.take("two", 50)
    with pytest.raises(QueueFull):
        await shares.wait("three", 1, AT_ONCE)

    assert shares.in_use == 100


async def test_a_waiter_cancelled_when_granted_holds_nothing() -> None:
    shares = Shares("bytes", 100, 1)
    hold = shares.take("one", 100)
    waiting = asyncio.create_task(shares.wait("two", 10, SOON))
    await asyncio.sleep(0)
    hold.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert shares.in_use == 0


async def test_a_request_that_holds_something_does_not_wait_for_another_that_waits_for_it() -> None:
    shares = Shares("bytes", 100, 0.5)
    first, second = shares.take("one", 20), shares.take("one", 20)

    more = [asyncio.create_task(shares.wait("one", 20, SOON, beside)) for beside in (second, first)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in more] == [False, True]
    for hold in (first, more[1].result()):
        hold.release()

    assert await asyncio.wait_for(more[0], SOON)
    assert shares.in_use == 40


async def test_the_oldest_of_all_goes_beyond_the_total() -> None:
    shares = Shares("bytes", 100, 0.9)
    holds = [shares.take(client, 40) for client in ("one", "two")]

    more = [
        asyncio.create_task(shares.wait(client, 40, SOON, hold))
        for client, hold in zip(("one", "two"), holds, strict=True)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in more] == [True, False]
    for hold in (holds[0], more[0].result()):
        hold.release()

    assert await asyncio.wait_for(more[1], SOON)


async def test_what_is_granted_and_needs_no_more_is_never_the_oldest() -> None:
    shares = Shares("bytes", 100, 0.5)
    shares.grant("slow reader", 60)
    hold = shares.take("one", 20)

    more = await shares.wait("one", 30, AT_ONCE, hold)

    assert (more.amount, shares.in_use) == (30, 110)


async def test_an_empty_hold_is_never_the_oldest() -> None:
    shares = Shares("bytes", 100, 1)
    empty = shares.take("one", 0)
    shares.take("one", 100)

    with pytest.raises(RateLimited):
        await shares.wait("one", 10, AT_ONCE, empty)
