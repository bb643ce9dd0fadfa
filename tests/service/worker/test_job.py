import pytest

from lexiseg_model.abilities import Proposals
from lexiseg_model.cards import PanopticRule
from lexiseg_model.errors import ExamplesError, ForeignExamplesError, ModelError, OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.types import ClassEntry, Point, Prompt, Shown, Vocabulary
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.job import Admission, Job, client_error
from tests.model.stand_in import ColourSegmenter
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.serving import form, serving


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
    async with serving(backend=backend) as client:
        answer = await client.post("/segment", files=form("red", **question))
    backend.engine.close(1)

    assert answer.status_code == status
    assert [error["field"] for error in answer.json().get("errors", [])] == fields


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (ExamplesError("99 of a class; expected at most 30"), InvalidValue),
        (ForeignExamplesError("of other weights"), NotReady),
    ],
    ids=["to change", "to send again"],
)
def test_the_kind_of_an_error_about_examples_says_what_to_do(failure: ModelError, seen: type[ServiceError]) -> None:
    shown = Vocabulary((ClassEntry("this", shown=Shown((b"row",))),))

    assert type(client_error(failure, WorkerRequest(b"", shown, "colours"))) is seen


@pytest.mark.parametrize(
    ("size", "n_classes", "n_prompts", "large"),
    [
        ((480, 640), 150, 0, False),
        ((480, 640), 0, 256, True),
        ((1200, 1600), 20, 0, False),
        ((1200, 1600), 20, 20, True),
        ((3000, 4000), 1, 0, True),
        (None, 2048, 0, False),
    ],
)
def test_megapixels_times_classes_and_prompts_tell_large_work(
    size: tuple[int, int] | None, n_classes: int, n_prompts: int, large: bool
) -> None:
    words = Vocabulary(tuple(ClassEntry(f"word {n}") for n in range(n_classes)))
    request = WorkerRequest(b"", words, "colours", prompts=(Prompt((Point(1, 1),)),) * n_prompts)
    job = Job(request, render=lambda job: job.image_id)
    admission = Admission(queue_limit=4)

    admission.admit(job, size)

    assert (job.large, admission.has_small) == (large, not large)
