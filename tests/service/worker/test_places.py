"""Who may have a request in flight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.worker.places import Places


def test_one_source_may_take_every_place_and_no_more() -> None:
    places = Places(4)

    assert [places.take("x") for _ in range(5)] == [True] * 4 + [False]
    assert len(places) == 4


def test_who_has_less_than_its_share_gets_a_place_when_others_have_them_all() -> None:
    places = Places(8)
    for _ in range(8):
        places.take("x")

    assert [places.take("y") for _ in range(3)] == [True] * 2 + [False]
    assert not places.take("x")


def test_a_place_that_is_given_back_is_free() -> None:
    places = Places(1)
    places.take("x")
    assert not places.take("x")

    places.give_back("x")

    assert places.take("x")


@given(st.integers(1, 16), st.lists(st.sampled_from("abcdefgh"), max_size=100))
def test_there_are_never_more_than_half_as_many_again(most: int, wishes: list[str]) -> None:
    places = Places(most)

    for source in wishes:
        places.take(source)

    assert len(places) <= most + max(1, most // 2)


@given(st.integers(4, 32), st.lists(st.sampled_from("xy"), max_size=200))
def test_two_sources_with_everything_full_leave_a_third_its_place(most: int, wishes: list[str]) -> None:
    places = Places(most)
    for source in wishes:
        places.take(source)

    assert places.take("z")
