"""`tcl` as a Segmenter: the authors' outputs through the interface; fast precision."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip import windowed
from lexiseg_model.features import Features, InferenceOptions, Plan
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.methods.tcl.network import MaskSettings, TclSettings
from lexiseg_model.methods.tcl.segmenter import TclSegmenter
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import ClassEntry, Precision, Refinement
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import EMBEDDING_TOLERANCE, MASK_TOLERANCE, SIMILARITY_TOLERANCE, assert_close
from tests.once import kept

CPU = torch.device("cpu")
CARD = catalogue.read_card(catalogue.bundled()["tcl"])


@kept
def segmenter(precision: Precision = "exact") -> TclSegmenter:
    restored = golden.restored() if precision == "exact" else deepcopy(golden.restored())
    return TclSegmenter(restored, TclSettings.model_validate(CARD.settings), CARD, "golden", Execution(CPU, precision))


def bank() -> TextBank:
    return TextBank(golden.texts(), np.arange(5), 5)


@kept
def features(tag: str) -> Features:
    """Of one picture as a single window, without a resize."""
    picture = golden.image(f"tcl/image{tag}", *golden.SIZES[tag])
    tiles = np.ascontiguousarray(picture.transpose(2, 0, 1))[None]
    return segmenter().assemble(Plan(golden.SIZES[tag], tiles), segmenter().encode_tiles(tiles))


def entries(*names: str) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name) for name in names)


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", [name for name in golden.reference() if name.startswith("mask_")])
def test_masks_with_and_without_blend_and_refinement_equal_the_reference(name: str) -> None:
    _, tag, blend, refined = name.split("_")
    with_pamr = refined == "pamr1"
    settings = MaskSettings(int(blend[2:]) / 10, PamrSettings() if with_pamr else None)
    step = 3 if tag == "100x130" else 5

    ours = segmenter().masks(features(tag), bank(), settings)

    assert_close(ours[:, 2::step, 2::step], name, MASK_TOLERANCE[with_pamr])


@kept
def sliding() -> Features:
    """Of the windows of one picture. Shared: never change them."""
    return segmenter().encode(golden.image("tcl/image500x700", 500, 700))


@pytest.mark.parametrize("refine", ["none", "pamr"])
def test_sliding_windows_equal_the_reference(refine: Refinement) -> None:
    model, refined = segmenter(), refine == "pamr"
    scores = model.refined_scores(sliding(), bank()) if refined else model.class_scores(sliding(), bank())
    background = model.background_score(scores, None, refine) / model.probability_scale

    for index, rows in enumerate((scores, torch.cat([background.expand(1, *scores.shape[1:]), scores]))):
        full, name = windowed.resize(rows, (500, 700)), f"bg{index}_pamr{int(refined)}"
        assert_close(full[:, 7::15, 7::15], f"slide_logit_{name}", MASK_TOLERANCE[refined])
        assert (full.argmax(0).numpy() != golden.reference()[f"slide_label_{name}"]).mean() <= 1e-4


def test_a_class_is_the_mean_of_its_unnormalised_templates() -> None:
    classes = entries(*golden.ABOUT["classes"])
    rows = segmenter().encode_texts(segmenter().texts(classes))

    assert_close(segmenter().text_bank(classes, rows).vectors, "classifier", SIMILARITY_TOLERANCE)


def test_caption_rows_equal_the_reference() -> None:
    rows = torch.from_numpy(segmenter().encode_texts(golden.ABOUT["captions"]))

    assert_close(rows, "caption_features", EMBEDDING_TOLERANCE)


@pytest.mark.parametrize(
    ("size", "canvas", "windows"),
    [
        ((500, 700), (448, 627), 2),
        ((448, 448), (448, 448), 1),
        ((1000, 500), (896, 448), 3),
        ((300, 3000), (205, 2048), 9),
    ],
)
def test_a_plan_follows_the_protocols_arithmetic(size: tuple[int, int], canvas: tuple[int, int], windows: int) -> None:
    plan = segmenter().plan(photograph(*size))

    assert plan.layout is not None
    assert plan.layout.canvas == canvas
    assert len(plan.tiles) == windows
    assert plan.bucket == (min(448, canvas[0]), min(448, canvas[1]))


def test_fast_masks_agree_with_exact_ones() -> None:
    picture = golden.image("tcl/image224", 224, 224)
    options = InferenceOptions(max_side=224)
    maps = []
    for precision in ("exact", "fast"):
        model = segmenter(precision)
        scores = model.class_scores(model.encode(picture, options), bank())
        maps.append(windowed.resize(scores, (224, 224)))

    # Random weights put many pixels on an edge between classes; bfloat16 and the coarser lattice move those.
    assert (maps[0] - maps[1]).abs().mean() < 0.02
    assert (maps[0].argmax(0) == maps[1].argmax(0)).float().mean() > 0.97


def test_the_image_vector_equals_the_reference() -> None:
    embedding = golden.restored().network.image_embedding(golden.normalised(golden.image("tcl/image224", 224, 224)))

    assert_close(embedding, "image_embedding_224", EMBEDDING_TOLERANCE)
