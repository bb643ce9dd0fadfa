"""The bundled ONNX graphs of `tiny`: digests, operators, and the same answers as torch."""

import hashlib

import onnx
import pytest
import torch
from safetensors.torch import load_file

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.catalogue.models import load
from lexiseg_model.export import manifest
from lexiseg_model.export.manifest import FOLDER
from lexiseg_model.methods.tiny.network import OWN_WORDS, PART_DIRECTIONS
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED as WEIGHTS_FILE
from lexiseg_model.methods.tiny.weights import FOLDER as BUNDLED
from lexiseg_model.methods.tiny.weights import TinyState
from lexiseg_model.types import Point, Prompt, Runtime
from tests.model.conftest import Photographs

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


@pytest.mark.parametrize("file", [graph.file for graph in manifest.read(EXPORT).graphs])
def test_graphs_use_standard_operators_alone(file: str) -> None:
    model = onnx.load(EXPORT / file)

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
