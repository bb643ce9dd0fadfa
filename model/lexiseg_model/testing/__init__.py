"""The suite that every method passes: inherit `SegmenterTests` and give it a model.

    class TestMine(SegmenterTests):
        @pytest.fixture
        def segmenter(self) -> Segmenter:
            return mine()  # loaded once: functools.cache

It needs pytest. Tests of what the model has no methods for are skipped.
"""

from lexiseg_model.testing import rewriting as rewriting  # before the tests are imported
from lexiseg_model.testing.images import ImageTests, MaskTests
from lexiseg_model.testing.prompts import ExampleTests, PromptTests
from lexiseg_model.testing.tasks import TaskTests
from lexiseg_model.testing.words import WordTests

__all__ = ["ExampleTests", "ImageTests", "MaskTests", "PromptTests", "SegmenterTests", "TaskTests", "WordTests"]


class SegmenterTests(ImageTests, WordTests, MaskTests, PromptTests, ExampleTests, TaskTests):
    """All of them, for one model: override the fixture `segmenter`, and `precision` if it is not "fast"."""
