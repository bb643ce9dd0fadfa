"""Every method of this package, asked what any method is asked, and what some do beyond the suite."""

from dataclasses import replace
from pathlib import Path

import torch

from lexiseg_model import ClassEntry, Examples, Features, Proposing, Segmenter, Words, methods, testing
from lexiseg_model.errors import ExportError
from lexiseg_model.export.exportable import Exportable, TorchPass
from lexiseg_model.testing.prompts import encoded_red
from lexiseg_model.testing.suite import blocks
from lexiseg_model.types import Shown, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_regions
from tests.model.conformance.conftest import Shared
from tests.model.conformance.models import EXACT, MODELS, asked_of


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


@asked_of(lambda model: model.words, EXACT)
class TestExactWords(Shared):
    test_scores = testing.WordTests.test_there_is_one_map_of_scores_and_a_presence_for_each_class
    test_rows = testing.WordTests.test_there_is_one_row_for_each_text_in_the_type_that_is_kept
    test_a_row_in_company = testing.WordTests.test_a_row_in_company_is_the_row_alone
    test_refinements = testing.WordTests.test_every_refinement_of_the_card_is_done


@asked_of(lambda model: model.examples, EXACT)
class TestExactExamples(Shared):
    test_a_class = testing.ExampleTests.test_a_class_scores_higher_on_its_own_examples_than_on_what_it_is_not


def test_every_method_is_asked() -> None:
    """A method has a line in `models.py`."""
    (folder,) = methods.__path__

    assert {module.parent.name for module in Path(folder).glob("*/segmenter.py")} <= MODELS.keys()


@asked_of(lambda model: model.fuses)
class TestFusion(Shared):
    def test_words_and_examples_of_a_class_are_fused_with_the_picture(
        self, segmenter: Segmenter, words: Words, examples: Examples, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        classes = (ClassEntry("sky", shown=Shown((left,))), ClassEntry("dog", shown=Shown((right,))), ClassEntry("red"))
        bank = bank_of(segmenter, Vocabulary(classes, None), words.encode_texts)

        scores = words.class_scores(features, bank)

        alone = words.class_scores(features, replace(bank, support=None))
        assert scores.isfinite().all()
        assert not torch.allclose(scores, alone, atol=1e-3)


@asked_of(lambda model: model.examples and model.masks)
class TestExamplesOfMasks(Shared):
    def test_examples_name_regions(
        self, segmenter: Segmenter, words: Words, examples: Examples, proposing: Proposing, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        classes = tuple(ClassEntry(name, shown=Shown((row,)), named=False) for name, row in (("l", left), ("r", right)))
        embeddings = proposing.propose(features).embeddings

        vocabulary = Vocabulary(classes, None)
        bank = bank_of(segmenter, vocabulary, words.encode_texts)

        logits = score_regions(segmenter, features, vocabulary, bank, embeddings)

        assert logits.shape == (2, len(embeddings))
        assert logits.isfinite().all()


@asked_of(lambda _: True, EXACT)
class TestExports(Shared):
    def test_another_runtime_is_given_the_pass_that_the_model_does(self, segmenter: Segmenter) -> None:
        assert isinstance(segmenter, TorchPass)  # which torch.compile translates
        if not isinstance(segmenter, Exportable):
            assert not hasattr(segmenter, "image_network")
            return
        try:
            network = segmenter.image_network()
        except ExportError:  # the pass is more than one network
            return
        tiles = segmenter.plan(blocks()).tiles

        with torch.inference_mode():
            exported = network(torch.from_numpy(tiles))

        own = segmenter.encode_tiles(tiles)
        assert {part.dtype for part in exported} == {torch.float32}
        outputs = iter(exported)  # in the same order; some of them are for heads only
        for ours in own:
            theirs = next(output for output in outputs if output.shape == ours.shape)
            torch.testing.assert_close(theirs, ours.float(), atol=5e-3, rtol=1e-3)
