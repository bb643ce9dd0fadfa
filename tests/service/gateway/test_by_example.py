import pytest

from lexiseg_model.types import Vocabulary
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.by_example import MAX_REPETITION, ExampleDesk
from lexiseg_service.gateway.image_requests import Images
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.image.reader import HeaderReader
from lexiseg_service.question.backend import Exemplified
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.schemas import ClassInput, ExampleInput
from lexiseg_service.settings import Limits

PICTURE = bytes(1000)


class OnePicture:
    """Keeps the same small picture of every image."""

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        regions = tuple(shown.region for shown in request.regions)
        return Exemplified("image", "digest", (b"",) * len(regions), PICTURE, regions)


async def unfetched(_: str, client: str) -> bytes:
    raise AssertionError("no example has a URL")


def shown(n_examples: int) -> VocabularyInput:
    """A class with so many examples in one image."""
    example = ExampleInput.model_validate({"image": {"id": "0" * 32}, "box": [1, 1, 9, 9]})
    return VocabularyInput(classes=[ClassInput.model_validate({"name": "cup", "examples": [example] * n_examples})])


LIMITS = Limits()


@pytest.fixture(autouse=True)
def _one_picture_may_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "max_example_bytes", len(PICTURE))


async def kept(n_examples: int) -> VocabularyInput:
    desk = ExampleDesk(OnePicture().exemplify, LIMITS, Images(unfetched, HeaderReader(LIMITS)))
    return await desk.stored_form(shown(n_examples), WorkerRequest(None, Vocabulary(()), "tiny"))


async def test_an_image_may_hold_several_examples() -> None:
    (entry,) = (await kept(MAX_REPETITION)).classes

    assert isinstance(entry, ClassInput)
    assert all(example.image is not None and example.image.base64 for example in entry.examples)


async def test_a_picture_is_not_kept_with_countless_examples() -> None:
    with pytest.raises(InvalidValue, match="5,000 bytes of pictures, each as often as it has examples"):
        await kept(MAX_REPETITION + 1)
