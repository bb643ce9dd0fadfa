"""What was found out about a word is kept, whatever it is asked with."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_model.caches.known_words import KnownWords


class Lengths:
    """Knows how long words are, and of how many it was asked."""

    def __init__(self, most: int) -> None:
        self.known: KnownWords[str, int] = KnownWords(most)
        self.asked = 0

    def of(self, *words: str) -> list[int]:
        def find_out() -> Sequence[int]:
            self.asked += len(words)
            return list(map(len, words))

        return [*self.known.of(words, find_out)]


def test_known_words_are_not_looked_at_again_beside_others() -> None:
    lengths = Lengths(most=4)
    lengths.of("dog", "horse")

    assert lengths.of("horse") == [5]
    assert lengths.asked == 2


def test_a_list_with_a_new_word_is_looked_at_as_a_whole() -> None:
    lengths = Lengths(most=4)
    lengths.of("dog")

    assert lengths.of("dog", "horse") == [3, 5]
    assert lengths.asked == 3
    assert [*lengths.known] == ["dog", "horse"]


def test_when_there_is_no_room_all_goes_but_the_latest_list() -> None:
    lengths = Lengths(most=3)
    lengths.of("dog", "horse")

    assert lengths.of("cat", "bird") == [3, 4]
    assert [*lengths.known] == ["cat", "bird"]


def test_a_list_that_is_longer_than_the_room_is_answered_and_not_kept() -> None:
    lengths = Lengths(most=1)
    lengths.of("dog")

    assert lengths.of("cat", "bird") == [3, 4]
    assert [*lengths.known] == ["dog"]


def test_words_are_weighed_with_what_is_known_of_them() -> None:
    lengths = Lengths(most=3)
    empty = lengths.known.nbytes
    lengths.of("dog" * 1000)
    one = lengths.known.nbytes
    lengths.of("cat" * 1000, "cow" * 1000)
    three = lengths.known.nbytes
    lengths.of("fox")

    assert one - empty > 3000
    assert three - empty > 9000
    assert lengths.known.nbytes < one
