"""Graphs of the prompt head and of the browser, and their templates."""

import copy
import hashlib
import runpy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import Tensor

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.catalogue.models import load
from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest
from lexiseg_model.export.manifest import FOLDER
from lexiseg_model.export.write import write_part
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.methods.tiny import closer_look, teaching
from lexiseg_model.methods.tiny.browser import browser_parts, require_tiny
from lexiseg_model.methods.tiny.browser_graphs import Reading
from lexiseg_model.methods.tiny.graphs import TEMPLATES
from lexiseg_model.methods.tiny.mask_graphs import ChooseMask, FinishMask, LookAt, Palette
from lexiseg_model.methods.tiny.network import OWN_WORDS, PART_DIRECTIONS
from lexiseg_model.methods.tiny.prompting import as_tensors
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule, TinySettings
from lexiseg_model.methods.tiny.weights import BUNDLED as WEIGHTS_FILE
from lexiseg_model.methods.tiny.weights import FOLDER as BUNDLED
from lexiseg_model.methods.tiny.weights import TinyState
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.runtimes import Runtime
from lexiseg_model.segmenter import AskedParts, TextBank
from lexiseg_model.types import ClassEntry, Learned, Point, Prompt, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from tests.model.conftest import Photographs
from tests.test_architecture import ROOT

differ = runpy.run_path(str(ROOT / "model/templates.py"))["differ"]


@pytest.fixture(scope="module")
def other() -> TinySegmenter:
    """A model as of `lexiseg train tiny`: other weights, training words and background words, the same rules."""
    model = copy.copy(load("tiny", device="cpu", precision="exact"))
    assert isinstance(model, TinySegmenter)
    model.network = copy.deepcopy(model.network)
    with torch.no_grad():
        for value in model.network.state_dict().values():
            value.copy_(value + 0.1 * torch.randn_like(value) if value.is_floating_point() else value)
    assert model.familiar is not None
    model.familiar = Familiar(model.familiar.words[:50], model.familiar.rows[:50], 0.5, model.familiar.foreign)
    background = model.card.background.model_copy(update={"words": model.card.background.words[:7]})
    model.card = model.card.model_copy(update={"background": background})
    return model


def test_a_model_with_taught_classes_is_refused(other: TinySegmenter) -> None:
    tuned = copy.copy(other)
    tuned.own_classes = {"mug": Learned(b"", 1.0, tuned.digest)}

    with pytest.raises(
        ExportError, match="tiny was taught mug; without a service a page asks by words alone: serve it"
    ):
        require_tiny(tuned)


@torch.inference_mode()
def test_every_graph_of_other_weights_answers_as_its_module(other: TinySegmenter, tmp_path: Path) -> None:
    parts = [*other.parts(), *browser_parts(other, Reading(other))]

    for part in parts:
        assert part.template is not None
        write_part(part, tmp_path)  # compares them

    assert {f"{part.name}.onnx" for part in parts} == {path.name for path in TEMPLATES.iterdir()}


def test_a_template_of_other_code_is_found_out(tiny: TinySegmenter, tmp_path: Path) -> None:
    (part,) = (part for part in browser_parts(tiny, Reading(tiny)) if part.name == "scores")
    part = part._replace(template=tmp_path / "scores.onnx")
    model = onnx.load(TEMPLATES / "scores.onnx")
    *_, logarithm = (node for node in model.graph.node if node.op_type == "Log")
    logarithm.op_type = "Exp"
    onnx.save(model, tmp_path / "scores.onnx")

    assert differ(TEMPLATES / "scores.onnx", tmp_path / "scores.onnx")
    with pytest.raises(ExportError, match="the graph scores is off by"):
        write_part(part, tmp_path)


@pytest.mark.parametrize(("factor", "is_other"), [(1, False), (1 + 1e-7, False), (1.01, True)])
def test_constants_may_differ_by_their_last_digits(factor: float, is_other: bool, tmp_path: Path) -> None:
    model = onnx.load(TEMPLATES / "palette.onnx")
    weights, _ = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [1, 3, 1, 1])
    scaled = numpy_helper.to_array(weights) * factor
    weights.CopyFrom(numpy_helper.from_array(scaled, weights.name))
    onnx.save(model, tmp_path / "palette.onnx")

    assert differ(TEMPLATES / "palette.onnx", tmp_path / "palette.onnx") == is_other


def test_templates_are_not_for_rules_of_ones_own(tiny: TinySegmenter) -> None:
    own = copy.copy(tiny)
    own.settings = tiny.settings.model_copy(update={"boxes": BoxRule(small=12.0)})

    assert all(part.template is not None for part in browser_parts(tiny, Reading(tiny)))
    assert all(part.template is None for part in browser_parts(own, Reading(own)))


def of_the_page(
    tiny: TinySegmenter, photograph: NDArray[np.uint8], classes: tuple[ClassEntry, ...]
) -> tuple[Features, TextBank, Callable[..., tuple[Tensor, ...]]]:
    """Features and bank of a question, and the page's graph of scores, which still takes a head."""
    features = tiny.encode(photograph, InferenceOptions(teaching=True))
    bank = bank_of(tiny, Vocabulary(classes, None), KnownRows(tiny))
    (scores,) = (part.module for part in browser_parts(tiny, Reading(tiny)) if part.name == "scores")
    maps = [features.tensors[name][None] for name in ("pixels", "image", "cells", *teaching.MAPS)]
    assert bank.shifts is not None
    texts = bank.vectors, bank.shifts, torch.arange(len(classes))
    words = *texts, torch.zeros(len(classes)), torch.ones(len(tiny.card.background.words))
    n, no = len(classes), torch.tensor([len(classes)])
    parts = bank.parts or AskedParts(torch.zeros(n), no, no, torch.zeros(1, bank.shifts.shape[1]), no < 0)
    named = {"is_part": parts.is_part, "part": parts.part, "divided": parts.whole, "dividing": parts.directions}
    return features, bank, partial(scores, *maps, *words, **named)


@torch.inference_mode()
def test_taught_classes_are_scored_as_the_service_does_and_others_keep_their_bits(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    direction = np.random.default_rng(0).normal(0, 0.1, teaching.SIZE).astype(np.float32)
    learned = Learned(direction.tobytes(), 0.4, tiny.digest)
    classes = ClassEntry("spoon"), ClassEntry("gizmo", learned=learned), ClassEntry("table")
    features, bank, scores = of_the_page(tiny, photographs["coffee"], classes)

    head = torch.from_numpy(direction)[None], torch.tensor([1]), torch.tensor([learned.text])

    nothing, *_ = scores(torch.zeros(1, teaching.SIZE), torch.tensor([3]), torch.zeros(1), torch.tensor(0.0))
    taught, whole, _ = scores(*head, torch.tensor(0.0))
    together, *_ = scores(*head, torch.tensor(3.0))
    two, *_ = scores(*head, torch.tensor(2.0))

    torch.testing.assert_close(taught[:3], tiny.class_scores(features, bank), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(whole[:3], tiny.whole_image(features, bank), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(together[:3], tiny.competing(features, bank, "none").classes, atol=2e-3, rtol=1e-4)
    of_two = tiny.competing(features, bank_of(tiny, Vocabulary(classes[:2], None), KnownRows(tiny)), "none").classes
    torch.testing.assert_close(two[:2], of_two, atol=2e-3, rtol=1e-4)
    assert torch.equal(two[2], taught[2])
    assert torch.equal(taught[[0, 2]], nothing[[0, 2]])
    assert not torch.equal(taught[1], nothing[1])


@torch.inference_mode()
def test_parts_divide_their_wholes_as_in_the_service(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    features, bank, scores = of_the_page(tiny, photographs["chelsea"], tuple(map(ClassEntry, ("cat", "head", "ear"))))

    of_no_head = torch.zeros(1, teaching.SIZE), torch.tensor([3]), torch.zeros(1)
    answer, whole, _ = scores(*of_no_head, torch.tensor(3.0))

    torch.testing.assert_close(answer[:3], tiny.competing(features, bank, "none").classes, atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(whole[:3], tiny.whole_image(features, bank), atol=1e-3, rtol=1e-4)


@torch.inference_mode()
def test_a_class_of_a_head_without_pictures_keeps_its_cells_as_in_the_service(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    direction = np.zeros((2, teaching.SIZE), np.float32)
    direction[0, -1] = 20  # takes every cell
    learned, unseen = Learned(direction[0].tobytes(), 0.4, tiny.digest), Learned(b"", 1.0, tiny.digest)
    classes = ClassEntry("cup", learned=unseen), ClassEntry("gizmo", learned=learned), ClassEntry("table")
    features, bank, scores = of_the_page(tiny, photographs["coffee"], classes)

    head = torch.from_numpy(direction), torch.tensor([1, 0]), torch.tensor([learned.text, 1.0])
    answer, whole, _ = scores(*head, torch.tensor(3.0))

    expected = tiny.competing(features, bank, "none").classes
    assert {0, 1} <= set(expected.argmax(0).flatten().tolist())
    torch.testing.assert_close(answer[:3], expected, atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(whole[:3], tiny.whole_image(features, bank), atol=1e-3, rtol=1e-4)


EXPORT = BUNDLED / FOLDER
MAX_BYTES = 14_500_000
CLICK, OTHER = Prompt((Point(200.0, 150.0, True),)), Prompt((Point(90.0, 60.0, True),))
BOX = Prompt((), (40.0, 30.0, 380.0, 260.0))
CORRECTED = Prompt((Point(200.0, 150.0, True), Point(20.0, 20.0, False)), (40.0, 30.0, 380.0, 260.0))


def tiny(runtime: Runtime) -> TinySegmenter:
    segmenter = load("tiny", device="cpu", precision="fast", runtime=runtime)
    assert isinstance(segmenter, TinySegmenter)
    return segmenter


@pytest.fixture(scope="module")
def by_graphs() -> TinySegmenter:
    return tiny("auto")


@pytest.fixture(scope="module")
def by_torch() -> TinySegmenter:
    return tiny("torch")


def test_the_bundled_graphs_are_of_the_bundled_weights(by_torch: TinySegmenter) -> None:
    exported = manifest.read(EXPORT)

    assert exported.digest == by_torch.digest
    assert sum(graph.bytes for graph in exported.graphs) <= MAX_BYTES
    for graph in exported.graphs:
        manifest.verified(EXPORT, graph)


@pytest.mark.parametrize(
    "file", [*sorted(TEMPLATES.glob("*.onnx")), *sorted(EXPORT.glob("*.onnx"))], ids=lambda file: file.stem
)
def test_graphs_use_standard_operators_alone(file: Path) -> None:
    model = onnx.load(file)

    assert {(used.domain, used.version) for used in model.opset_import} <= {("", 20)}
    onnx.checker.check_model(model)


def test_a_fresh_installation_runs_the_bundled_graphs(by_graphs: TinySegmenter) -> None:
    assert by_graphs._runner is not None
    assert by_graphs._graphs is not None


def test_graphs_of_prompts_are_opened_by_the_first_click(photographs: Photographs) -> None:
    segmenter = tiny("auto")
    features = segmenter.encode(photographs["coffee"])
    before = [session.is_open for session in segmenter.part_sessions]

    segmenter.prompt(features, [CLICK])

    assert before == [False, False, False]
    assert [session.is_open for session in segmenter.part_sessions].count(True) == 2  # a correction's is the third


def prompted(
    segmenter: TinySegmenter, like: TinySegmenter, picture: object, prompts: list[Prompt]
) -> list[PromptMasks]:
    """Answers about features of `like`, whose numbers are the same for all."""
    plan = like.plan(picture)  # type: ignore[arg-type]
    return segmenter.head_masks(like.assemble(plan, like.encode_tiles(plan.tiles)), prompts)


def test_prompts_are_answered_as_by_torch(
    by_graphs: TinySegmenter, by_torch: TinySegmenter, photographs: Photographs
) -> None:
    picture, prompts = next(iter(photographs.values())), [OTHER, BOX, CORRECTED]

    expected = prompted(by_torch, by_torch, picture, prompts)
    answers = prompted(by_graphs, by_torch, picture, prompts)

    for ours, theirs in zip(answers, expected, strict=True):  # in 8 bits
        inside, truth = ours.masks > 0, theirs.masks > 0
        assert (inside & truth).sum() > 0.8 * (inside | truth).sum()
        torch.testing.assert_close(ours.quality, theirs.quality, atol=0.05, rtol=0)


# Of every tensor of the network: the figures of prompts on the card were measured over it.
NETWORK = "e442ce87aa4bd21570a06b2e537e81ad95a7e634caae201434127cee54ee1f47"


def test_the_bundled_network_is_the_one_that_prompts_were_measured_with() -> None:
    total = hashlib.sha256()
    tensors = TinyState.from_tensors(load_file(WEIGHTS_FILE)).network
    added = (OWN_WORDS, PART_DIRECTIONS)  # to what words score, not to prompts
    for name, value in sorted((name, value) for name, value in tensors.items() if not name.startswith(added)):
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.numpy().tobytes())

    assert total.hexdigest() == NETWORK


ONE_CLICK = Prompt((Point(200.0, 150.0),))
LARGE_BOX = Prompt((), (100.0, 60.0, 420.0, 320.0))
OUTSIDE = Prompt((Point(500.0, 380.0),), (100.0, 60.0, 420.0, 320.0))
SURE = Prompt((Point(200.0, 150.0), Point(300.0, 200.0)), (100.0, 60.0, 420.0, 320.0))
BOTH = Prompt((Point(200.0, 150.0), Point(30.0, 20.0, False)), (100.0, 60.0, 420.0, 320.0))


@pytest.mark.parametrize("prompt", [ONE_CLICK, LARGE_BOX, SURE])
@torch.inference_mode()
def test_the_chosen_mask_is_the_services_first(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]], prompt: Prompt
) -> None:
    plan = tiny.plan(photographs["coffee"])
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    scale = tiny._scale_of(features)
    tensors = as_tensors([prompt], scale, torch.device("cpu"))
    predict = tiny._predictor().click_masks if prompt.is_lone_click else tiny._predictor().prompt_mask
    masks, quality = (part[0, 0].float() for part in predict(tiny._shared(features), tensors))

    guide, *palette = Palette()(torch.from_numpy(plan.tiles[0]))
    mask, sure = ChooseMask()(masks, quality, *(part[0, 0] for part in tensors), *palette)

    (expected,) = tiny._refined_masks(features, [prompt])
    assert torch.equal(guide, features.tensors["guide"])
    assert sure.item() == pytest.approx(expected.quality[0].item())
    assert torch.allclose(mask, expected.masks[0], atol=1e-2)
    assert ((mask > 0) == (expected.masks[0] > 0)).float().mean() > 0.999


@pytest.mark.parametrize("prompt", [ONE_CLICK, LARGE_BOX, BOTH, OUTSIDE])
@torch.inference_mode()
def test_the_finished_mask_is_the_services(tiny: TinySegmenter, coffee: Features, prompt: Prompt) -> None:
    whole = replace(prompt, single_pass=True)
    (refined,), (expected,) = tiny._refined_masks(coffee, [whole]), tiny.prompt(coffee, [whole])
    tensors = as_tensors([prompt], tiny._scale_of(coffee), torch.device("cpu"))
    inputs = [refined.masks[0], refined.quality[:1], *(part[0, 0] for part in tensors), torch.tensor(0.0)]

    (mask,) = FinishMask(tiny.settings)(*inputs)

    assert ((mask > 0) == (expected.masks[0] > 0)).float().mean() > 0.9999


def test_a_graph_looks_at_a_small_box_where_the_service_does() -> None:
    rule = TinySettings()
    whole = Features((300, 400), {"picture": torch.zeros(450, 600, 3), "pixels": torch.zeros(1, 72, 96)})
    prompt = Prompt((Point(50.0, 40.0), Point(390.0, 290.0, False)), (40.0, 30.0, 80.0, 60.0))
    crop = closer_look.crop_for(prompt, whole, 32, rule.looks)
    assert crop is not None
    moved = closer_look.to_crop(prompt, whole, crop)
    places = torch.tensor([[50.0, 40.0], [390.0, 290.0]], dtype=torch.float64)
    signs, box = torch.tensor([1.0, -1.0]).double(), torch.tensor(prompt.box).double()
    sizes = [torch.tensor(size).double() for size in ((300, 400), (288, 384), (450, 600))]

    span, shape, looks, moved_box, points, inside = LookAt(rule, 32)(places, signs, box, *sizes)

    assert looks == 1
    assert (*map(int, span), tuple(map(int, shape))) == crop
    assert tuple(moved_box.tolist()) == moved.box
    assert inside.tolist() == [1, 0]
    assert [(point.x, point.y) for point in moved.points] == [tuple(points[0].tolist())]
