"""Every method of this package, asked what any method is asked."""

from pathlib import Path

from lexiseg_model import methods, testing
from tests.model.conformance.models import EXACT, MODELS, asked_of
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


@asked_of(lambda _: True, EXACT)
class TestExact(Shared):
    """In the other precision: its number types, and every task from end to end."""

    test_features = testing.ImageTests.test_features_are_kept_in_one_number_type_and_know_their_bytes
    test_a_tile = testing.ImageTests.test_the_answer_for_a_tile_does_not_depend_on_its_neighbours
    test_tasks = testing.TaskTests.test_a_task_that_the_card_names_is_done
    test_the_same_question = testing.TaskTests.test_the_same_question_has_the_same_answer


@asked_of(lambda model: model.words, EXACT)
class TestExactWords(Shared):
    test_scores = testing.WordTests.test_there_is_one_map_of_scores_for_each_class
    test_rows = testing.WordTests.test_there_is_one_row_for_each_text_in_the_type_that_is_kept
    test_a_row_in_company = testing.WordTests.test_a_row_in_company_is_the_row_alone
    test_concurrent_questions = testing.WordTests.test_concurrent_questions_have_the_scores_of_one_alone
    test_refinements = testing.WordTests.test_every_refinement_of_the_card_is_done


@asked_of(lambda model: model.examples, EXACT)
class TestExactExamples(Shared):
    test_a_class = testing.ExampleTests.test_a_class_scores_higher_on_its_own_examples_than_on_what_it_is_not


def test_every_method_is_asked() -> None:
    """A method has a line in `models.py`."""
    (folder,) = methods.__path__

    assert {module.parent.name for module in Path(folder).glob("*/segmenter.py")} <= MODELS.keys()
