"""Mistakes that a type checker catches: strict mypy refuses an ignored error that is none."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_client import Background, Class, Client, Point, Prompt, Segmentation
from lexiseg_client.question import question_json
from lexiseg_service.gateway.rest.openapi import SEGMENT

NOWHERE = "http://127.0.0.1:9"


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


@pytest.mark.parametrize(
    ("classes", "options", "kind", "said"),
    [
        (7, {}, TypeError, "classes: expected a list, got 7"),
        ({"sky": ["heaven"]}, {}, TypeError, "classes: expected a list, got {'sky'"),
        ([Class("sky", synonyms="heaven")], {}, TypeError, "classes.0.synonyms: expected a list, got 'heaven'"),
        (["sky"], {"background": Background(words="wall")}, TypeError, "background.words: expected a list, got 'wall'"),
        ([Class("sky", threshold=float("nan"))], {}, ValueError, "classes.0.threshold: expected a finite number"),
        (["B\udcc3ume"], {}, ValueError, r"classes.0: expected text in Unicode, got 'B\\udcc3ume'"),
    ],
)
@pytest.mark.parametrize("url", [NOWHERE, "grpc://127.0.0.1:9"])
def test_what_cannot_be_sent_is_refused_by_the_name_of_its_field(
    url: str, classes: Any, options: Any, kind: type[Exception], said: str
) -> None:
    with Client(url) as client, pytest.raises(kind, match=said):
        client.segment(b"any bytes", classes, **options)


def test_numbers_of_numpy_are_numbers() -> None:
    options: Any = {"threshold": np.float32(0.5), "max_side": np.int64(512)}

    assert question_json(["sky"], options) == {"classes": ["sky"], "threshold": 0.5, "max_side": 512}


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"url": Path("masks")}, TypeError, "url: expected a str, got PosixPath"),
        ({"url": f"http://{'ä' * 70}"}, ValueError, "expected an address like http"),
        ({"grpc_target": "grpc://masks:50051"}, ValueError, "expected a grpc_target like localhost:50051, got 'grpc:"),
        ({"api_key": b"secret"}, TypeError, "api_key: expected a str, got bytes"),
        ({"timeout": "10"}, TypeError, "timeout: expected seconds, as 10.0, got '10'"),
        ({"timeout": float("inf")}, ValueError, "timeout: expected seconds from 0 to"),
        ({"retry": 3}, TypeError, "retry: expected a Retry"),
        ({"http": httpx.AsyncClient()}, TypeError, "http: expected httpx.Client, got AsyncClient"),
    ],
)
def test_a_client_of_wrong_arguments_is_not_made(given: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Client(**given)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.map(None, ["sky"]), "images: expected several or a folder, got one NoneType"),
        (lambda client: client.map("cat.jpg", ["sky"]), r"got one str; write \[image\]"),
        (lambda client: client.map(b"bytes", ["sky"]), "got one bytes"),
        (lambda client: client.map(Path("cat.jpg"), ["sky"]), "got one PosixPath"),
        (lambda client: client.map(Segmentation.from_dict(SEGMENT), ["sky"]), "got one Segmentation"),
        (lambda client: client.map([], ["sky"], progress="yes"), "progress: expected True, False, None or a function"),
        (lambda client: client.stream("clip.mp4", ["sky"]), "frames: expected several, got one str"),
        (lambda client: client.jobs.create(7, ["sky"]), "images: expected an archive, a folder, or a list of"),
    ],
)
def test_one_in_place_of_several_is_refused(call: Any, said: str) -> None:
    with Client(NOWHERE) as client, pytest.raises(TypeError, match=said):
        call(client)
