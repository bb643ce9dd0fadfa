import httpx
import pytest
from PIL import Image

from lexiseg_model.errors import ModelError, OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Proposals
from lexiseg_model.types import PanopticRule
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.service.engine_backend import EngineBackend

IMAGE = pictures.encoded(Image.new("RGB", (60, 40), (255, 0, 0)))


class Windowed(ColourSegmenter):
    """Its card names the task, but it cannot do it of large images."""

    def __init__(self, failure: ModelError) -> None:
        super().__init__(tasks=("semantic", "panoptic"), panoptic=PanopticRule(source="proposals"))
        self.failure = failure

    def propose(self, features: Features) -> Proposals:
        raise self.failure


TOO_LARGE = TaskError("seen through 3 windows")


@pytest.mark.parametrize(
    ("failure", "question", "status", "fields"),
    [
        (TOO_LARGE, {"task": "panoptic"}, 422, ["task"]),
        (TOO_LARGE, {"refine": "pamr"}, 422, ["refine"]),
        (OptionError("of the card's own making"), {"task": "panoptic"}, 500, []),
    ],
    ids=["a task", "a refinement", "our own fault"],
)
async def test_the_error_names_the_field_to_change_if_there_is_one(
    failure: ModelError, question: dict[str, str], status: int, fields: list[str]
) -> None:
    backend = EngineBackend(Windowed(failure))
    app = create_app(Settings(model="colours"), backend, Metrics())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            files = {"image": ("a.png", IMAGE)}
            answer = await client.post("/segment", files=files, data={"classes": "red", **question})
    finally:
        backend.engine.close(1)

    assert answer.status_code == status
    assert [error["field"] for error in answer.json().get("errors", [])] == fields
