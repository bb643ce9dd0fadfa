"""`dense-clip` as a Segmenter: NACLIP's released outputs through the interface."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip.import_ import card_settings
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter, Parts
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings, PolicyName
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import ClassEntry, Refinement
from lexiseg_train.evaluation.benchmarks.run import Reduction, reduce_to_labels
from tests.golden import golden_inputs
from tests.golden.weights import SEED, openai_clip_vitb16, reference
from tests.model.methods.dense_clip import small
from tests.once import kept

CPU = torch.device("cpu")
REFERENCE = reference("dense_clip")
OWNER = REFERENCE["query_index"].astype(np.int64)


@kept
def segmenter(policy: PolicyName = "naclip") -> DenseClipSegmenter:
    bundled = catalogue.read_card(catalogue.bundled()["dense-clip"])
    card = bundled.model_copy(update=card_settings(bundled, policy, "ViT-B-16", quick_gelu=True))
    parts = Parts(openai_clip_vitb16(), None, "golden")
    return DenseClipSegmenter(parts, settings_of(card, DenseClipSettings), card, Execution(CPU, "exact"))


def picture() -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = golden_inputs.image(SEED, "dense/image336x448", 336, 448)
    return pixels


@kept
def features_of(model: DenseClipSegmenter) -> Features:
    """The fixture's: of an image said to be 300 x 400, seen at 336 x 448. Shared: never change its tensors."""
    plan = model.plan(picture()).of_size((300, 400))
    return model.assemble(plan, model.encode_tiles(plan.tiles))


def bank() -> TextBank:
    return TextBank(torch.from_numpy(REFERENCE["slide_texts"]), np.arange(6), 6)


@pytest.mark.parametrize("refined", [False, True])
def test_labels_equal_the_reference(refined: bool) -> None:
    model = segmenter()
    features = features_of(model)
    scores = model.refined_scores(features, bank()) if refined else model.class_scores(features, bank())
    order = np.argsort(OWNER, kind="stable")

    rules = Reduction(OWNER[order], model.probability_scale, lambda logits, _: logits.logsumexp(0) + math.log(0.4))
    labels = reduce_to_labels(scores[torch.from_numpy(order)], (300, 400), rules)

    expected = REFERENCE["naclip_slide_label_pamr" if refined else "naclip_slide_label"]
    assert (labels != expected).mean() <= 1e-4


@pytest.mark.parametrize("texts_at_once", [1, 256])
@pytest.mark.parametrize("refine", ["none", "pamr"])
def test_labels_with_synonyms_equal_the_reference(
    monkeypatch: pytest.MonkeyPatch, refine: Refinement, texts_at_once: int
) -> None:
    monkeypatch.setattr("lexiseg_model.clip.patch_text.TEXTS_AT_ONCE", texts_at_once)
    model = segmenter()
    features = features_of(model)
    words = TextBank(torch.from_numpy(REFERENCE["slide_texts"]), OWNER, 4)

    scores, others, refined, _ = model.competing(features, words, refine)

    assert others is not None
    assert refined is (refine == "pamr")
    logits = scores * model.probability_scale
    must_beat = model.background_score(torch.cat([logits, others[None]]), 0.4, refine, features)
    best, winner = logits.max(0)
    labels = winner.where(best >= must_beat, 0).numpy()
    expected = REFERENCE["naclip_slide_label_pamr" if refine == "pamr" else "naclip_slide_label"]
    assert (labels != expected).mean() <= 1e-4  # 0 where it was written; another processor may round a pixel away


def test_synonyms_lower_the_confidence_of_a_class() -> None:
    model = segmenter()
    features = features_of(model)
    texts = torch.from_numpy(REFERENCE["slide_texts"])

    alone = model.competing(features, TextBank(texts[:4], np.arange(4), 4), "none")
    beside = model.competing(features, TextBank(texts, OWNER, 4), "none")

    assert alone.others is None
    assert beside.others is not None
    total = torch.cat([beside.classes * model.probability_scale, beside.others[None]]).logsumexp(0)
    assert (total >= (beside.classes * model.probability_scale).logsumexp(0)).all()


def test_a_threshold_is_the_probability_that_a_class_must_have() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0]).view(3, 1, 1)
    best = logits.softmax(0)[0].item()

    below, above = (segmenter().background_score(logits, best + step, "none") for step in (-0.01, 0.01))

    assert below.item() < 2.0 < above.item()


def test_a_texts_templates_are_averaged_as_unit_vectors() -> None:
    classes = (ClassEntry("cat"),)
    model = small.segmenter()
    rows = model.encode_texts(model.texts(classes))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean = units.mean(0)

    ours = model.text_bank(classes, rows).vectors[0]

    np.testing.assert_allclose(ours, mean / np.linalg.norm(mean), atol=1e-6)
    with pytest.raises(ShapeError, match="expected text rows"):
        model.text_bank(classes, rows[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": None}, "come together"), ({"window": 224, "stride": 225}, "leaves gaps"),
        ({"templates": "imagenet"}, "no template set"), ({"prob_thd": 1.5}, "prob_thd"),
        ({"temperature": 1}, "temperature"), ({"policy": "gem"}, "policy"),
    ],
)  # fmt: skip
def test_contradictory_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DenseClipSettings.model_validate(changes)
