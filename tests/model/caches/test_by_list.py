"""What was made of a class list is made once for the same list."""

from __future__ import annotations

from lexiseg_model.caches.by_list import LONGEST, ByList
from lexiseg_model.types import ClassEntry


class Making:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def test_the_same_list_is_looked_at_once() -> None:
    kept, make, classes = ByList[int](), Making(), (ClassEntry("dog"),)

    assert [kept.once(classes, make) for _ in range(3)] == [1, 1, 1]


def test_a_list_like_it_is_looked_at_for_itself() -> None:
    kept, make = ByList[int](), Making()
    lists = [tuple(ClassEntry(name) for name in names) for names in (["dog"], ["dog"])]

    assert [kept.once(classes, make) for classes in lists] == [1, 2]


def test_the_oldest_lists_are_forgotten() -> None:
    kept, make = ByList[int](most=3), Making()
    lists = [(ClassEntry(f"class {number}"),) for number in range(4)]
    for classes in lists:
        kept.once(classes, make)

    assert kept.once(lists[1], make) == 2
    assert kept.once(lists[0], make) == 5


def test_a_list_of_countless_texts_is_answered_and_not_kept() -> None:
    kept, make = ByList[int](), Making()
    synonyms = tuple(f"other name {number}" for number in range(LONGEST))
    classes = (ClassEntry("dog", synonyms),)

    assert [kept.once(classes, make) for _ in range(2)] == [1, 2]
    assert kept.list_bytes == kept.made_bytes == 0


def test_lists_and_what_was_made_of_them_are_weighed() -> None:
    kept = ByList[list[str]]()
    classes = (ClassEntry("dog", ("hound" * 100,)),)
    kept.once(classes, lambda: ["a photo of a dog" * 100])

    assert 500 < kept.list_bytes < 2000
    assert 1600 < kept.made_bytes < 2000
