"""Whose work comes next: seconds are counted, none pass."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.worker.threads.shares import Shares, Turn


def shares_of(*work: tuple[str, str], large: str = "") -> Shares[str]:
    """Work as (source, name); names in `large` are large."""
    shares: Shares[str] = Shares()
    for source, name in work:
        shares.put(source, name, 0.0, large=name in large.split())
    return shares


def served(shares: Shares[str], seconds: dict[str, float] | float = 1.0) -> list[str]:
    """Names in the order in which one thread takes them; each takes the seconds of its source."""
    order = []
    while (turn := shares.take()) is not None:
        order.append(turn.work)
        shares.done(turn, seconds if isinstance(seconds, float) else seconds[turn.source])
    return order


def test_one_source_is_first_come_first_served() -> None:
    assert served(shares_of(("x", "a"), ("x", "b"), ("x", "c"))) == ["a", "b", "c"]


def test_sources_take_turns_however_much_one_has() -> None:
    shares = shares_of(*(("x", f"x{n}") for n in range(4)), ("y", "y0"), ("y", "y1"))

    assert served(shares) == ["x0", "y0", "x1", "y1", "x2", "x3"]


def test_time_is_shared_and_not_turns() -> None:
    shares = shares_of(*(("slow", "s") for _ in range(4)), *(("quick", "q") for _ in range(12)))

    order = "".join(served(shares, {"slow": 4.0, "quick": 1.0}))

    assert order[:11] in ("sqqqqsqqqqs", "sqqqqqsqqqq")  # four quick ones for each slow one


def test_small_work_of_a_source_has_the_same_share_as_its_large() -> None:
    shares = shares_of(("x", "L1"), ("x", "L2"), ("x", "L3"), ("x", "s1"), ("x", "s2"), large="L1 L2 L3")

    assert served(shares)[:4] == ["s1", "L1", "s2", "L2"]


def test_a_size_that_may_not_be_taken_leaves_its_turn_to_others() -> None:
    shares = shares_of(("x", "L"), ("y", "s"), large="L")

    turn = shares.take(lambda large: not large)

    assert turn is not None
    assert turn.work == "s"
    assert shares.take(lambda large: not large) is None
    assert len(shares) == 1


def test_a_source_that_takes_two_threads_leaves_the_next_to_others() -> None:
    shares = shares_of(*(("x", f"x{n}") for n in range(5)), ("y", "y0"))
    first = shares.take()
    assert first is not None
    shares.done(first, 1.0)  # from now on it is known what a piece of this source takes

    under_way = [shares.take(), shares.take()]

    assert [turn.work for turn in under_way if turn] == ["y0", "x1"]


def test_who_comes_late_is_next_and_no_further_ahead_than_that() -> None:
    shares = shares_of(*(("x", f"x{n}") for n in range(6)))
    for _ in range(3):
        turn = shares.take()
        assert turn is not None
        shares.done(turn, 10.0)
    for n in range(3):
        shares.put("y", f"y{n}", 0.0)

    assert served(shares, 10.0) == ["y0", "y1", "x3", "y2", "x4", "x5"]


def test_leaving_and_coming_back_pays_no_debt() -> None:
    shares = shares_of(("x", "x0"), ("y", "y0"), ("y", "y1"))
    turn = shares.take()
    assert turn is not None
    shares.done(turn, 100.0)
    shares.put("x", "x1", 0.0)

    assert served(shares) == ["y0", "y1", "x1"]


def test_what_is_gone_is_forgotten() -> None:
    shares: Shares[str] = Shares()
    for n in range(1000):
        shares.put(f"source {n}", "work", 0.0)
        turn = shares.take()
        assert turn is not None
        shares.done(turn, 0.001)

    assert len(shares._sources) <= 2


def test_the_oldest_is_who_has_waited_longest() -> None:
    shares: Shares[str] = Shares()
    assert shares.oldest() is None
    shares.put("x", "a", 3.0)
    shares.put("y", "b", 2.0, large=True)

    assert shares.oldest() == 2.0


sources = st.sampled_from("xyz")
pieces = st.lists(st.tuples(sources, st.booleans(), st.floats(0.01, 5.0)), min_size=1, max_size=60)


@given(pieces, st.integers(1, 4))
def test_all_work_is_taken_once_in_the_order_of_its_source_and_size(
    work: list[tuple[str, bool, float]], threads: int
) -> None:
    shares: Shares[int] = Shares()
    for number, (source, large, _) in enumerate(work):
        shares.put(source, number, 0.0, large=large)
    running: list[Turn[int]] = []
    taken: list[int] = []
    while len(taken) < len(work):
        while len(running) < threads and (turn := shares.take()) is not None:
            running.append(turn)
            taken.append(turn.work)
        over = running.pop(0)
        shares.done(over, work[over.work][2])

    assert sorted(taken) == list(range(len(work)))
    for kind in {piece[:2] for piece in work}:
        own = [number for number in taken if work[number][:2] == kind]
        assert own == sorted(own)


@given(st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3), st.integers(5, 30))
def test_sources_that_always_have_work_get_the_same_time(seconds: list[float], turns: int) -> None:
    shares: Shares[int] = Shares()
    had: defaultdict[str, float] = defaultdict(float)
    for number in range(3):
        shares.put(f"{number}", number, 0.0)

    while min(had[f"{number}"] for number in range(3)) < turns * max(seconds):
        turn = shares.take()
        assert turn is not None
        shares.put(turn.source, turn.work, 0.0)  # the next, before this one is done
        had[turn.source] += seconds[turn.work]
        shares.done(turn, seconds[turn.work])

    assert max(had.values()) - min(had.values()) <= 3 * max(seconds)
