"""What some methods of this package do beyond the suite."""

from dataclasses import replace

import torch

from lexiseg_model import ClassEntry, Examples, Features, Proposing, Segmenter, Words
from lexiseg_model.errors import ExportError
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.testing.prompts import encoded_red
from lexiseg_model.testing.suite import blocks
from lexiseg_model.types import Shown, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_regions
from tests.model.conformance.models import EXACT, asked_of
from tests.model.conformance.shared import Shared


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


@asked_of(lambda model: not model.prompts)
class TestWithoutPrompts(Shared):
    def test_a_model_that_takes_no_prompts_names_none_on_its_card(self, segmenter: Segmenter) -> None:
        assert "prompt" not in segmenter.card.tasks
        assert not hasattr(segmenter, "prompt")
        assert not hasattr(segmenter, "places")


@asked_of(lambda model: not (model.examples or model.own_examples))
class TestWithoutExamples(Shared):
    def test_a_model_that_takes_no_examples_has_no_methods_for_them(self, segmenter: Segmenter) -> None:
        assert not hasattr(segmenter, "example_rows")
        assert not hasattr(segmenter, "example_vectors")
