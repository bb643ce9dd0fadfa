"""Mistakes that a type checker catches: strict mypy refuses an ignored error that is none."""

import numpy as np
import pytest

from lexiseg_client import Class, Client, Point, Prompt, Segmentation

NOWHERE = "http://127.0.0.1:9"


def test_one_name_in_place_of_a_list_is_an_error_of_types_and_at_run_time() -> None:
    with Client(NOWHERE) as client, pytest.raises(TypeError, match=r'did you mean \["cat"\]\?'):
        client.segment("cat.jpg", "cat")  # type: ignore[arg-type]


def test_names_in_one_string_are_refused_with_the_list_to_write() -> None:
    with Client(NOWHERE) as client, pytest.raises(TypeError, match=r'did you mean \["bus", "person"\]\?'):
        client.segment("cat.jpg", "bus, person")  # type: ignore[arg-type]


def test_a_prompt_in_place_of_a_list_is_an_error_of_types_and_at_run_time() -> None:
    with Client(NOWHERE) as client, pytest.raises(TypeError, match="prompts is a list"):
        client.segment("cat.jpg", prompts=Prompt(box=(0, 0, 9, 9)))  # type: ignore[arg-type]


def test_an_answer_is_no_mask() -> None:
    def mistaken(client: Client, answer: Segmentation) -> None:
        client.segment(answer, prompts=[Prompt(mask=answer)])  # type: ignore[arg-type]

    assert callable(mistaken)


def test_what_the_documents_show_has_types() -> None:
    def right(client: Client, answer: Segmentation) -> None:
        names: list[str] = ["cat", "dog"]
        client.segment(answer.image_id, names)
        client.segment(answer, ("cat", Class("dog", ["puppy"])))
        client.segment(answer, [Class("dog")], prompts=[Point(1, 2), Prompt(mask=answer["cat"])])
        client.segment(np.zeros((9, 9), np.uint8), prompts=[Prompt(mask=answer["cat"].mask)])
        for each in client.map("photos/", names):
            each.save("out.png")

    assert callable(right)
