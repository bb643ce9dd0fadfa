import httpx
import pytest
from PIL import Image

from lexiseg_model.errors import ModelError, OptionError, ShapeError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Proposals
from lexiseg_model.types import ClassEntry, PanopticRule, Refinement, Vocabulary
from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.app import create_app
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.finish import finish
from lexiseg_service.worker.job import Job, client_error
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.service.engine_backend import EngineBackend

IMAGE = pictures.encoded(Image.new("RGB", (60, 40), (255, 0, 0)))
REDS = Vocabulary((ClassEntry("red"),))


def job(deadline: float = float("inf")) -> Job[WorkerAnswer]:
    return Job(WorkerRequest(b"", Vocabulary((ClassEntry("sky"),)), "colours", deadline=deadline), finish)


def panoptic(refine: Refinement | None = None) -> WorkerRequest:
    return WorkerRequest(b"", REDS, "colours", task="panoptic", refine=refine)


@pytest.mark.parametrize(
    ("error", "refine"),
    [
        (OptionError("of the card's own making"), None), (OptionError("of the card's own making"), "none"),
        (ShapeError("no"), "pamr"), (RuntimeError("no"), "pamr"), (NotReady("no"), None),
    ],
)  # fmt: skip
def test_any_other_error_stays_what_it_is(error: Exception, refine: Refinement | None) -> None:
    assert client_error(error, panoptic(refine)) is error


class Windowed(ColourSegmenter):
    """Its card names the task, but it cannot do it of large images."""

    def __init__(self, failure: ModelError) -> None:
        super().__init__(tasks=("semantic", "panoptic"), panoptic=PanopticRule(source="proposals"))
        self.failure = failure

    def propose(self, features: Features) -> Proposals:
        raise self.failure


@pytest.mark.parametrize(
    ("question", "field"),
    [({"task": "panoptic"}, "task"), ({"refine": "pamr"}, "refine")],
    ids=["a task", "a refinement"],
)
async def test_the_error_names_the_field_to_change(question: dict[str, str], field: str) -> None:
    backend = EngineBackend(Windowed(TaskError("seen through 3 windows")))
    app = create_app(Settings(model="colours"), backend, Metrics())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            files = {"image": ("a.png", IMAGE)}
            answer = await client.post("/segment", files=files, data={"classes": "red", **question})
    finally:
        backend.engine.close(1)

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
