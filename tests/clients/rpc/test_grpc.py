"""The client over gRPC, against a real server: the same answers and the same errors as over REST."""

import dataclasses
import sys
from collections.abc import Callable, Iterator

import pytest

from lexiseg_client import (
    AsyncClient,
    Background,
    CacheUse,
    Class,
    Classes,
    Client,
    ImageId,
    Segmentation,
    Sense,
    Timings,
    errors,
)
from tests import pictures
from tests.command import ended
from tests.integration.server import ROOT, Server

JPEG = pictures.encoded(pictures.small("china", 240), "JPEG")
CLASSES: Classes = ["sky", Class("building", ["pagoda"]), "tree"]


@pytest.fixture
def remote(target: str) -> Iterator[Client]:
    with Client(f"grpc://{target}") as remote:
        yield remote


def content(answer: Segmentation) -> Segmentation:
    """Without what differs from request to request."""
    times, cache = Timings(0, 0, 0, 0, 0, 0), CacheUse(0, 0, False)
    return dataclasses.replace(answer, id="", timings_ms=times, cache=cache)


@pytest.mark.parametrize("form", ["rle", "polygon", "png", "none"])
def test_both_protocols_give_the_same_answer(client: Client, remote: Client, form: str) -> None:
    answers = [
        asked.segment(
            JPEG,
            CLASSES,
            mask=form,  # type: ignore[arg-type]
            background=Background(0.2, ["water"]),
            refine="pamr",
            max_side=224,
            confidence=True,
            overlay=True,
        )
        for asked in (client, remote)
    ]

    assert content(answers[0]) == content(answers[1])
    assert answers[1].cache.features  # the image of the first question, found again by the second


def test_both_protocols_say_what_is_absent_a_guess_and_which_meaning_a_picture_shows(
    client: Client, remote: Client
) -> None:
    classes: Classes = ["sky", "quark", "gluon", "crane", Class("bittern", gloss="small heron of marshes")]

    by_rest, by_rpc = (asked.segment(JPEG, classes) for asked in (client, remote))

    assert {(warning.type, warning.field) for warning in by_rpc.warnings} >= {
        ("unfamiliar-word", "classes.1"),
        ("unfamiliar-word", "classes.2"),
    }
    assert set(by_rpc.absent) == {getattr(each, "name", each) for each in classes} - {each.label for each in by_rpc}
    crane, bittern = (next(sense for sense in by_rpc.senses if sense.class_index == index) for index in (3, 4))
    assert sorted(meaning.split()[0] for meaning in (crane.gloss, *crane.others)) == ["large", "lifts"]
    assert bittern == Sense(4, "small heron of marshes")
    assert content(by_rest) == content(by_rpc)


def test_refusals_are_the_same_errors(client: Client, remote: Client) -> None:
    wrong: list[tuple[type[errors.ProblemError], Callable[[Client], object]]] = [
        (errors.InvalidValue, lambda asked: asked.segment(JPEG, CLASSES, threshold=1.5)),
        (errors.InvalidValue, lambda asked: asked.segment(JPEG, ["sky", "sky"])),
        (errors.InvalidValue, lambda asked: asked.segment(JPEG, CLASSES, mask="tiff")),  # type: ignore[arg-type]
        (errors.UnknownModel, lambda asked: asked.segment(JPEG, CLASSES, model="giant")),
        (errors.ImageExpired, lambda asked: asked.segment(ImageId("0" * 32), CLASSES)),
        (errors.UrlFetchOff, lambda asked: asked.segment("https://example.org/cat.jpg", CLASSES)),
        (errors.UnsupportedImage, lambda asked: asked.segment(b"GIF87 or so", CLASSES)),
    ]
    for kind, ask in wrong:
        problems = []
        for asked in (client, remote):
            with pytest.raises(kind) as caught:
                ask(asked)
            problems.append(dataclasses.replace(caught.value.problem, request_id=None))
        assert problems[0] == problems[1]


async def test_the_awaited_client_speaks_grpc(target: str, remote: Client) -> None:
    async with AsyncClient(f"grpc://{target}") as awaited:
        answer = await awaited.segment(JPEG, CLASSES)
        models = await awaited.models()
        with pytest.raises(errors.LexisegError) as caught:
            await awaited.segment(JPEG, CLASSES, threshold=1.5)

    assert content(answer) == content(remote.segment(JPEG, CLASSES))
    assert models == remote.models()
    assert isinstance(caught.value, errors.InvalidValue)


WITHOUT = """
import sys

sys.modules["grpc"] = None  # as if it were not installed
import numpy as np

from lexiseg_client import AsyncClient, Client, MissingLibrary

url = sys.argv[1]
with Client(url) as client:
    answer = client.segment(np.zeros((32, 48, 3), np.uint8), ["sky"], background=False)
    print(answer.size, answer.segments[0].label, client.health().ready)
for call in (
    lambda: Client("grpc://localhost:50051"),
    lambda: AsyncClient("grpcs://localhost:50051"),
    lambda: Client(url).stream([b""], ["sky"]),
    lambda: AsyncClient(url).stream([b""], ["sky"]),
):
    try:
        call()
    except MissingLibrary as error:
        print(error)
"""


def test_without_grpc_rest_works_and_what_needs_it_names_the_extra_that_brings_it(server: Server) -> None:
    program = ended([sys.executable, "-c", WITHOUT, server.url], cwd=ROOT)

    assert program.returncode == 0, program.stderr
    of_rest, *refusals = program.stdout.splitlines()
    assert of_rest == "(32, 48) sky True"
    assert ["pip install grpcio protobuf googleapis-common-protos" in each for each in refusals] == [True] * 4
