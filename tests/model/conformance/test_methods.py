"""Every method of this package, asked what any method is asked."""

from pathlib import Path

from lexiseg_model import methods, testing
from tests.model.conformance.models import MODELS, asked_of
from tests.model.conformance.shared import Shared


class TestImages(Shared, testing.ImageTests):
    pass


class TestTasks(Shared, testing.TaskTests):
    pass


@asked_of(lambda model: model.words)
class TestWords(Shared, testing.WordTests):
    pass


@asked_of(lambda model: model.masks)
class TestMasks(Shared, testing.MaskTests):
    pass


@asked_of(lambda model: model.prompts)
class TestPrompts(Shared, testing.PromptTests):
    pass


@asked_of(lambda model: model.examples)
class TestExamples(Shared, testing.ExampleTests):
    pass


def test_every_method_is_asked() -> None:
    """A method has a line in `models.py`."""
    (folder,) = methods.__path__

    assert {module.parent.name for module in Path(folder).glob("*/segmenter.py")} <= MODELS.keys()
