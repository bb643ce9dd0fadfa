"""What is weighed takes about as much memory."""

from __future__ import annotations

import sys

import numpy as np
import torch

from lexiseg_model.caches.weight import Weighed, weight
from lexiseg_model.types import ClassEntry


def test_texts_weigh_what_they_take_wherever_they_are() -> None:
    text = "word" * 1000

    assert weight(text) == sys.getsizeof(text)
    assert weight([text]) == sys.getsizeof([text]) + weight(text)
    assert weight({text: (1.5,)}) == sys.getsizeof({text: 1}) + weight(text) + weight((1.5,))
    assert weight(ClassEntry(text)) > weight(text)


def test_what_is_there_twice_weighs_once() -> None:
    text = "word" * 1000

    assert weight([text, text]) == sys.getsizeof([text, text]) + weight(text)


def test_numbers_weigh_their_bytes() -> None:
    assert weight((np.zeros(1000, np.float16),)) == sys.getsizeof((None,)) + 2000
    assert weight(torch.zeros(1000)) == 4000


def test_what_holds_itself_has_an_end() -> None:
    circle: list[object] = []
    circle.append(circle)

    assert weight(circle) == sys.getsizeof(circle)


def test_what_never_changes_is_weighed_once() -> None:
    words = ["word"]
    weighed = Weighed(words)
    before = weighed.nbytes
    words.append("more" * 1000)

    assert weighed.nbytes == before == weight(["word"])
