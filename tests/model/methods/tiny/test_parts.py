"""Parts of things that are asked: a part leads its whole, and what both win of other words stays."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.methods.tiny.scores import lead_parts, part_leads, presence_of_parts
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import Parts
from lexiseg_model.types import Background, ClassEntry, Learned, Vocabulary

KINDS = [
    Parts(wholes=frozenset({"dog", "cat"}), leads={"head": 3.0, "ear": 2.0}),
    Parts(wholes=frozenset({"head"}), leads={"ear": 1.0}),
]
ALL = torch.tensor(1.0)


def leads_of(*words: str) -> torch.Tensor | None:
    return part_leads(tuple(map(ClassEntry, words)), KINDS, ())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dog", "sky"], None),
        (["head"], [[-1.0]]),
        (["wheel", "Dogs", "heads"], [[0, 0, 0], [0, 0, 0], [0, 3, -1]]),
        (["ear", "dog", "head"], [[-1, 2, 1], [0, 0, 0], [0, 3, -1]]),
    ],
)
def test_a_part_leads_the_wholes_that_are_asked_with_it(words: list[str], expected: list[list[float]] | None) -> None:
    leads = leads_of(*words)

    assert (None if leads is None else leads.tolist()) == expected


def test_taught_classes_are_neither_parts_nor_wholes() -> None:
    taught = ClassEntry("head", learned=Learned(b"1234", 0.5, ""))

    assert part_leads((ClassEntry("dog"), taught), KINDS, ()) is None
    assert part_leads((ClassEntry("dog"), ClassEntry("head")), KINDS, {"head"}) is None


@pytest.mark.parametrize(
    ("share", "winners"),
    # Dog's cells: far from a head, near it, the head's own; cells of the sky, which no lead may change.
    [(1.0, ["dog", "head", "head", "sky", "sky"]), (0.0, ["dog", "dog", "head", "sky", "sky"])],
)
def test_a_part_wins_over_its_whole_and_over_nothing_else(share: float, winners: list[str]) -> None:
    words = ["dog", "head", "sky"]
    scores = torch.tensor([[9.0, 9, 7, 5, 4], [5, 7, 9, 4, 5], [1, 1, 1, 6, 6]])
    leads = leads_of(*words)
    assert leads is not None

    led = lead_parts(scores, leads, torch.tensor(share))

    assert [words[index] for index in led.argmax(0)] == winners
    torch.testing.assert_close(led.amax(0), scores.amax(0))
    assert torch.equal(led[2], scores[2])


def test_a_part_of_a_part_leads_both() -> None:
    leads = leads_of("ear", "dog", "head")
    assert leads is not None

    led = lead_parts(torch.tensor([[5.5], [9.0], [6.2]]), leads, ALL)

    assert led.argmax(0).item() == 0


def test_parts_are_as_present_as_their_cells_say() -> None:
    leads = leads_of("dog", "head", "ear")
    assert leads is not None
    above = torch.full((3, 100), -20.0)
    above[1, 0] = 8.0

    presence = presence_of_parts(torch.tensor([-1.0, -3.0, -3.0]), leads, above)

    assert presence[[0, 2]].tolist() == [-1, -3]
    assert presence[1] > 0


@pytest.mark.parametrize("words", [["woman", "head", "mouth"], ["head"]])
def test_parts_of_a_person_are_found(
    words: list[str], tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    vocabulary = Vocabulary(tuple(map(ClassEntry, words)), Background())

    segments = tasks.segment("semantic", tiny, tiny.encode(photographs["astronaut"]), vocabulary).segments

    assert [each.label for each in segments] == words
