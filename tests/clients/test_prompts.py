"""Points and boxes through the client, over both protocols."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from lexiseg_client import Client, ImageId, InvalidValue, Point, Prompt, Prompts, Segment
from lexiseg_labels.segments import RunLengths
from lexiseg_model import types
from lexiseg_model.masks.rle import encode_mask
from lexiseg_service.errors import ImageExpired
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests import pictures
from tests.clients.spies import BY_ID, UPLOAD, Spy
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports

PHOTO = pictures.small("china", 200)
JPEG = pictures.encoded(PHOTO, "JPEG")
SIZE = (PHOTO.height, PHOTO.width)


def columns(count: int) -> NDArray[np.bool_]:
    """[H, W] the left columns of the photograph."""
    return np.arange(SIZE[1]) < np.full((SIZE[0], 1), count)


MASK = columns(7)
SEGMENT = Segment(1, "left", 0, 0.5, 0, (0, 0, 7, SIZE[0]), RunLengths(SIZE, encode_mask(MASK).counts))
PROMPTS: Prompts = [
    (120, 80.5),
    Prompt(box=(10, 20, 100, 90)),
    Prompt([(30, 40), Point(5, 6, positive=False)], box=np.array([1.5, 2, 60, 70])),
    Prompt([Point(3, 4, positive=False)], mask=MASK),
    Prompt([Point(3, 4, positive=False)], mask=SEGMENT),
]
AnyPrompt: Any = Prompt
BY_MASK = types.Prompt(
    (types.Point(3.0, 4.0, False),), mask=types.Rle(SIZE, encode_mask(MASK).counts, 0, (0, 0, SIZE[1], SIZE[0]))
)
ASKED = (
    types.Prompt((types.Point(120.0, 80.5),)),
    types.Prompt((), (10.0, 20.0, 100.0, 90.0)),
    types.Prompt((types.Point(30.0, 40.0), types.Point(5.0, 6.0, False)), (1.5, 2.0, 60.0, 70.0)),
    BY_MASK,
    BY_MASK,
)


@dataclass
class Showing(KnownBackend):
    """Each prompt has a mask of its own, and the whole image. Forgets every image once it is `forgetful`."""

    forgetful: bool = False

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        known = await super().segment(request)
        if request.image is None and self.forgetful:
            raise ImageExpired("forgotten")
        shown = [
            types.Segment(
                2 * index + rank + 1, None, None, quality, encode_mask(mask), prompt_index=index, mask_index=rank,
                quality=quality,
            )
            for index in range(len(request.prompts))
            for rank, (quality, mask) in enumerate([(0.9, columns(index + 1)), (0.5, np.ones(SIZE, bool))])
        ]  # fmt: skip
        return replace(known, task=request.task, size=SIZE, segments=tuple(shown))


class Served(NamedTuple):
    """Where it listens, and who answers."""

    url: str
    grpc: str
    backend: Showing


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    backend = Showing()
    with capture_logs(), on_ports(backend) as ports:
        yield Served(*ports, backend)


@pytest.fixture(autouse=True)
def _nothing_asked_yet(served: Served) -> None:
    served.backend.asked.clear()
    served.backend.forgetful = False


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Client]:
    with Client(served.url if request.param == "rest" else f"grpc://{served.grpc}") as client:
        yield client


def test_prompts_arrive_as_they_were_asked(client: Client, served: Served) -> None:
    client.segment(JPEG, prompts=PROMPTS)

    (asked,) = served.backend.asked
    assert (asked.task, asked.prompts) == ("prompt", ASKED)
    assert asked.vocabulary.classes == ()


def test_the_masks_of_a_prompt_come_best_first(client: Client) -> None:
    answer = client.segment(JPEG, prompts=PROMPTS)

    assert (answer.task, len(answer)) == ("prompt", 2 * len(PROMPTS))
    for index in range(len(PROMPTS)):
        best, other = answer.of_prompt(index)
        assert np.array_equal(best.mask, columns(index + 1))
        assert other.mask.all()
        assert [(each.prompt_index, each.mask_index, each.quality) for each in (best, other)] == [
            (index, 0, 0.9),
            (index, 1, 0.5),
        ]
        assert (best.label, best.class_index, best.is_thing) == (None, None, None)


def test_a_click_on_an_image_sent_before_names_it(served: Served) -> None:
    spy = Spy()
    with spy.http() as http, Client(served.url, http=http) as client:
        first = client.segment(JPEG, prompts=[Point(1, 2)])
        client.segment(JPEG, prompts=[Point(3, 4)])
        client.segment(ImageId(first.image_id), prompts=[Point(5, 6)])

    assert spy.seen == [UPLOAD, BY_ID, BY_ID]
    assert [request.prompts[0].points[0].x for request in served.backend.asked] == [1, 3, 5]
    assert [request.image_id for request in served.backend.asked[1:]] == [first.image_id] * 2


def test_an_image_that_was_forgotten_is_sent_again_with_its_prompts(client: Client, served: Served) -> None:
    client.segment(JPEG, prompts=[Point(1, 2)])
    served.backend.forgetful = True

    answer = client.segment(JPEG, prompts=PROMPTS)

    assert [request.image is None for request in served.backend.asked] == [False, True, False]
    assert [request.prompts for request in served.backend.asked[1:]] == [ASKED, ASKED]
    assert len(answer) == 2 * len(PROMPTS)


def test_a_point_outside_the_image_is_refused_by_name(client: Client) -> None:
    with pytest.raises(InvalidValue) as caught:
        client.segment(JPEG, prompts=[Point(1, 1), Point(1000, 80)])

    (wrong,) = caught.value.errors
    assert (caught.value.status, caught.value.type, wrong.value) == (422, "invalid-value", 1000)
    assert caught.value.problem.request_id
    assert wrong.field == "prompts.1.points.0.x"
    assert str(SIZE[1]) in wrong.expected


@pytest.mark.parametrize(
    ("prompts", "kind", "said"),
    [
        (Point(1, 2), TypeError, r"did you mean \[Point\(x=1, y=2"),
        (7, TypeError, "prompts: expected a list"),
        ([(1, 2, 3)], TypeError, r"prompts.0: expected a Prompt or a Point, .*: a tuple is a point \(x, y\), got 3"),
        ([Point(1, 2), AnyPrompt(Point(1, 2))], TypeError, "prompts.1: expected a Prompt or a Point, got Prompt"),
        ([AnyPrompt([[1, 2]])], TypeError, "prompts.0: expected a Prompt or a Point, got Prompt"),
        ([Point(1, float("nan"))], ValueError, "prompts.0.points.0.y: expected a finite number, got nan"),
        ([Prompt(box=(1, 2, 3))], ValueError, "expected 4"),
    ],
)
def test_what_is_no_prompt_is_refused_before_it_is_sent(
    served: Served, prompts: Any, kind: type[Exception], said: str
) -> None:
    spy = Spy()
    with spy.http() as http, Client(served.url, http=http) as client, pytest.raises(kind, match=said):
        client.segment(JPEG, prompts=prompts)

    assert spy.seen == []
