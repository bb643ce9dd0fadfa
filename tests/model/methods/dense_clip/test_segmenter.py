"""`dense-clip` against the authors' outputs on random weights, by its parts and through the interface."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.transformer import VisionTransformer
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.vision import PositionRule, Tokens, image_embedding, require_plain_vit, tokens_before_last_block
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip.import_ import card_settings
from lexiseg_model.methods.dense_clip.network import dense_map, proxy_map
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter, Parts
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings, PolicyName, published_policy
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import Refinement
from lexiseg_train.evaluation.benchmarks.run import Reduction, reduce_to_labels
from tests.golden import golden_inputs
from tests.golden.weights import META, SEED, openai_clip_vitb16, reference
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


def test_labels_of_refined_scores_equal_the_reference() -> None:
    model = segmenter()
    features = features_of(model)
    scores = model.refined_scores(features, TextBank(torch.from_numpy(REFERENCE["slide_texts"]), np.arange(6), 6))
    order = np.argsort(OWNER, kind="stable")

    rules = Reduction(OWNER[order], model.probability_scale, lambda logits, _: logits.logsumexp(0) + math.log(0.4))
    labels = reduce_to_labels(scores[torch.from_numpy(order)], (300, 400), rules)

    assert (labels != REFERENCE["naclip_slide_label_pamr"]).mean() <= 1e-4


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


SIZES = {"224": (224, 224), "336x448": (336, 448)}
UNIT = 3e-6  # of the fixtures' README: cosines and unit vectors
POLICIES: tuple[PolicyName, ...] = ("maskclip", "sclip", "naclip")


@kept
def pixels(tag: str) -> NDArray[np.uint8]:
    """uint8 [3, H, W], equal to the reference's input to the bit."""
    image = golden_inputs.image(SEED, f"dense/image{tag}", *SIZES[tag])
    assert golden_inputs.digest(image) == META["dense_clip"]["images"][tag][2]
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def batch(tag: str) -> Tensor:
    return torch.from_numpy(pixels(tag))[None]


def visual() -> VisionTransformer:
    return require_plain_vit(openai_clip_vitb16().visual)


@kept
@torch.inference_mode()
def entering(rule: PositionRule, tag: str) -> Tokens:
    """Tokens that enter the last block: the same for all methods."""
    return tokens_before_last_block(visual(), normalise(batch(tag), "clip_rounded"), rule)


@torch.inference_mode()
def unit_map(policy: PolicyName, rule: PositionRule, tag: str) -> Tensor:
    """Unit vectors [512, h, w]."""
    std = published_policy(policy).gaussian_std
    return torch.nn.functional.normalize(dense_map(visual(), entering(rule, tag), policy, std), dim=1)[0]


def proxy(tag: str) -> Tensor:
    """The fixtures' stand-in for a DINO map: [1, 768, H/8, W/8]."""
    height, width = (side // 8 for side in SIZES[tag])
    prototypes = golden_inputs.normal(SEED, "dense/vfm_prototypes", (16, 768)).astype(np.float64)
    prototypes += 0.6 * np.roll(prototypes, 1, 0)
    labels = golden_inputs.integers(SEED, f"dense/vfm_labels{tag}", (height // 7, width // 7), 0, 16)
    labels = labels.repeat(7, 0).repeat(7, 1)
    noise = golden_inputs.normal(SEED, f"dense/vfm_noise{tag}", (height, width, 768))
    return torch.from_numpy((prototypes[labels] + 0.7 * noise).transpose(2, 0, 1)[None].astype(np.float32))


def texts() -> Tensor:
    return torch.from_numpy(golden_inputs.unit_vectors(SEED, "dense/texts", 6, 512))


def cosines(vectors: Tensor, words: Tensor | None = None) -> Tensor:
    """[D, h, w] -> [6, h, w] with the fixtures' texts, or with others [6, D]."""
    return torch.einsum("dhw,td->thw", vectors, texts() if words is None else words)


def assert_reference(found: Tensor, name: str, tolerance: float = UNIT) -> None:
    np.testing.assert_allclose(found.numpy(), REFERENCE[name], atol=tolerance, rtol=0)


@pytest.mark.parametrize("tag", SIZES)
@pytest.mark.parametrize("policy", POLICIES)
def test_an_attention_policy_repeats_its_released_code(policy: PolicyName, tag: str) -> None:
    vectors = unit_map(policy, "scale_factor", tag)

    assert_reference(vectors[::8], f"features_{policy}_{tag}")
    assert_reference(cosines(vectors), f"logits_{policy}_{tag}")


@pytest.mark.parametrize("policy", POLICIES)
def test_positions_resized_by_size_are_reproduced_too(policy: PolicyName) -> None:
    assert_reference(cosines(unit_map(policy, "size", "336x448")), f"logits_{policy}_336x448_size")


@pytest.mark.parametrize("tag", SIZES)
@torch.inference_mode()
def test_proxyclip_repeats_its_released_code_with_the_value_grid_set_right(tag: str) -> None:
    maps = proxy_map(visual(), entering("scale_factor", tag), proxy(tag), beta=1.2, gamma=3.0)

    vectors = torch.nn.functional.normalize(maps, dim=1)[0]

    assert_reference(vectors[::16, ::3, ::3], f"features_proxyclip_{tag}")
    assert_reference(cosines(vectors)[:, ::2, ::2], f"logits_proxyclip_{tag}")


@pytest.mark.parametrize("tag", SIZES)
@torch.inference_mode()
def test_the_image_vector_of_clip_is_reproduced(tag: str) -> None:
    vector = torch.nn.functional.normalize(image_embedding(visual(), entering("scale_factor", tag)), dim=1)[0]

    assert_reference(vector, f"clip_image_embedding_{tag}")
