"""Order of a fair queue."""

from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.fair_queue import FairQueue, Sender


def served(queue: FairQueue[str]) -> str:
    """The next item, which is removed and costs its sender 1."""
    item = queue.next()
    assert item is not None
    sender = queue.sender_of(item)
    queue.take(item)
    queue.charge(sender, 1)
    return item


def test_clients_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("x0", "x1", "x2", "y0", "y1"):
        queue.put(item, Sender(item[0]))

    assert [served(queue) for _ in range(5)] == ["x0", "y0", "x1", "y1", "x2"]


def test_the_flows_of_a_client_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("frame 0", "frame 1", "photograph 0"):
        queue.put(item, Sender("x", item.split()[0]))

    assert [served(queue) for _ in range(3)] == ["frame 0", "photograph 0", "frame 1"]


def test_an_item_that_goes_ahead_passes_its_own_flow_alone() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put("begin", Sender("x"))
    queue.put("other", Sender("y"))
    queue.put("go on", Sender("x"), ahead=True)

    assert [served(queue) for _ in range(3)] == ["go on", "other", "begin"]


def test_what_may_not_be_served_keeps_its_place() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("large", "small"):
        queue.put(item, Sender("x"))

    assert queue.next(lambda item: item != "large") == "small"
    assert queue.next() == "large"
    assert queue.next(lambda item: False) is None


@given(st.lists(st.sampled_from(["x", "y", "z"]), max_size=20), st.integers(1, 5))
def test_the_background_waits_until_nothing_else_does(clients: list[str], n_background: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(n_background):
        queue.put(f"background {number}", Sender("x", background=True))
    for number, client in enumerate(clients):
        queue.put(f"{client} {number}", Sender(client))

    order = [served(queue) for _ in range(len(queue))]

    assert order[len(clients) :] == [f"background {number}" for number in range(n_background)]


def test_idle_clients_and_flows_are_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put(f"client {number}", Sender(f"client {number}"))
        queue.put(f"flow {number}", Sender("x", f"flow {number}"))
        served(queue)
        served(queue)

    assert queue.n_remembered < 60
