"""CorrCLIP against a transcription of its released code, on random weights; and behind the interface."""

from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.abilities import Proposals
from lexiseg_model.clip.images import normalise
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.dense_clip import corrclip
from lexiseg_model.methods.dense_clip.corrclip import CorrClipTower, region_map
from lexiseg_model.methods.dense_clip.import_ import Options, read
from lexiseg_model.methods.dense_clip.segmenter import CorrClipSegmenter, Parts, majority_labels, majority_vote
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.sam2.head import PromptHead
from lexiseg_model.testing.suite import blocks
from lexiseg_model.types import ClassEntry, Vocabulary
from tests.golden import corrclip as plain
from tests.model.clip import small
from tests.model.methods.dense_clip import small as small_clip
from tests.model.methods.dense_clip.small import corr_segmenter, dino
from tests.model.methods.sam2 import small as sam2
from tests.model.methods.sam3 import small as sam3
from tests.model.methods.tiny import small as tiny
from tests.model.stand_in import ColourSegmenter
from tests.once import kept

SEEDS = [0, 3, 11]
SIDE = small.PRETRAINED_SIDE


def pixels(seed: int, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    """[H, W, 3]."""
    drawn: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return drawn


def regions(seed: int, kinds: int = 5) -> NDArray[np.int64]:
    """[H, W] of blocks, 0 among them."""
    blocks = np.random.default_rng(seed).integers(0, kinds, (4, 4))
    return blocks.repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)


@kept
def tower(seed: int) -> CorrClipTower:
    visual = small.towers(seed=seed).visual
    return CorrClipTower(visual, DenseClipSettings(policy="corrclip", normalisation="unit"), dino(seed)).eval()


@pytest.mark.parametrize(("kinds", "lowest"), [(1, 0), (2, 0), (5, 0), (5, 3)])
@pytest.mark.parametrize("seed", SEEDS)
@torch.inference_mode()
def test_patches_are_those_of_the_released_code(seed: int, kinds: int, lowest: int) -> None:
    tile = torch.from_numpy(pixels(seed)).permute(2, 0, 1)[None]
    labels = regions(seed, kinds) + lowest
    last: list[Tensor] = []
    qkv = dino(seed).vit.blocks[-1].get_submodule("attn.qkv")
    with qkv.register_forward_hook(lambda _, inputs, output: last.append(output)):
        dino(seed).vit.forward_features(normalise(tile, "imagenet"))
    query, key, _ = last[0][0, 1:].double().chunk(3, 1)

    (ours,) = tower(seed)(tile, torch.from_numpy(labels)[None])

    image, visual = normalise(tile, "unit")[0].double(), deepcopy(small.towers(seed=seed).visual).double()
    theirs = plain.patch_vectors(visual, image, F.normalize(query + key, dim=1).numpy(), labels)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(ours[0].flatten(1).T, theirs, atol=1e-5)


def test_on_a_picture_of_one_colour_every_patch_keeps_a_value() -> None:
    shares = corrclip.attention(F.normalize(torch.ones(9, 4), dim=1), torch.zeros(9, dtype=torch.int64))

    torch.testing.assert_close(shares.sum(1), torch.ones(9))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_takes_the_label_of_most_of_its_cells(seed: int) -> None:
    logits = torch.randn(4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    labels, parts = logits.argmax(0), torch.from_numpy(regions(seed))
    theirs = plain.corrected(labels.numpy(), parts.numpy())

    np.testing.assert_array_equal(majority_labels(labels, parts, 4), theirs)
    corrected = majority_vote(logits, parts, (SIDE, SIDE))
    np.testing.assert_array_equal(corrected.argmax(0), theirs)
    torch.testing.assert_close(corrected.sort(0).values, logits.sort(0).values)


def test_labels_are_counted_at_the_size_of_the_picture_where_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, parts = torch.randn(3, 8, 8), torch.from_numpy(regions(0))

    assert majority_vote(logits, parts, (50, 70)).shape == (3, 50, 70)
    monkeypatch.setattr("lexiseg_model.methods.dense_clip.segmenter.MAX_AT_FULL_SIZE", 3 * 50 * 70 - 1)
    assert majority_vote(logits, parts, (50, 70)).shape == (3, SIDE, SIDE)


class Fixed(ColourSegmenter):
    """Proposes these masks."""

    def __init__(self, masks: NDArray[np.bool_]) -> None:
        super().__init__()
        self._fixed = masks

    def propose(self, features: Features) -> Proposals:
        logits = torch.from_numpy(self._fixed).float() * 2 - 1
        return Proposals(logits, logits.new_zeros(len(logits), 4), logits.new_ones(len(logits)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_larger_mask_lies_on_top(seed: int) -> None:
    generator = np.random.default_rng(seed)
    masks = np.stack([generator.random((SIDE, SIDE)) < share for share in (0.5, 0.05, 0.3, 0.2)])

    ours = region_map(Fixed(masks), pixels(seed))

    np.testing.assert_array_equal(ours, plain.painted(list(masks)))


@pytest.mark.parametrize("small_model", [tiny, sam2, sam3], ids=["tiny", "sam2", "sam3"])
def test_models_that_propose_masks_give_regions(small_model: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrclip, "QUALITY", -100)  # random weights are sure of nothing
    monkeypatch.setattr(corrclip, "STABILITY", 0)
    monkeypatch.setattr(corrclip, "POINTS", 2)

    labels = region_map(small_model.segmenter("exact"), pixels(0, 48, 80))

    assert labels.shape == (48, 80)
    assert labels.max() > 0


class Drawn(PromptHead):
    """Answers 64 points with these masks."""

    def __init__(self, masks: Tensor, quality: Tensor) -> None:
        decoder = SimpleNamespace(dynamic_multimask_via_stability=True)
        self.model = SimpleNamespace(mask_decoder=decoder, prompt_encoder=lambda *prompts: (None, None))
        self.side, self.device, self._answer = 64, torch.device("cpu"), (masks[None, :, None], quality[None, :, None])

    def embeddings(self, features: Features) -> Any:
        return [], None

    def decoded(self, *prompts: Any, multimask: bool) -> tuple[Tensor, Tensor]:
        assert not multimask
        assert not self.model.mask_decoder.dynamic_multimask_via_stability
        return self._answer


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_of_sam_are_those_that_the_authors_generate(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(64, 1, 1, generator=generator) - 1
    masks = centres + 3 * F.interpolate(torch.randn(64, 1, 3, 3, generator=generator), (16, 16), mode="bilinear")[:, 0]
    quality = torch.rand(64, generator=generator)
    size = (40, 56)

    ours = corrclip._masks(WithHead(Drawn(masks, quality)), Features(size, {}))

    at_size = F.interpolate(masks[:, None], size, mode="bilinear")[:, 0].double().numpy()
    expected = plain.generated(at_size, quality.double().numpy())
    assert 0 < len(expected) < int((quality > 0.4).sum())
    torch.testing.assert_close(ours, masks[expected])


class WithHead(ColourSegmenter):
    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.sam_head = head


def test_a_model_without_masks_is_refused() -> None:
    with pytest.raises(OptionError, match="proposes no masks"):
        region_map(small_clip.segmenter(), pixels(0))


def test_windows_of_a_picture_are_those_of_the_canvas_and_see_its_regions() -> None:
    model = corr_segmenter()
    rgb = blocks("rgba").repeat(2, 0).repeat(2, 1)[:96, :160]

    features = model.encode(rgb)

    assert model.plan(rgb).tiles.shape == (1, 3, 96, 160)
    assert features.layout is not None
    assert features.layout.canvas == (48, 80)
    assert len(features.tensors["patches"]) == len(features.layout.offsets) == 8
    assert features.tensors["regions"].shape == (96, 160)  # as the labels that they correct
    assert features.tensors["patches"].shape[2:] == (8, 8)


def test_answers_follow_the_regions_when_nothing_else_is_asked() -> None:
    model = corr_segmenter()
    rgb = blocks("rgba")[:48, :80]
    vocabulary = Vocabulary(tuple(map(ClassEntry, ("cat", "dog", "car"))), None)
    features = model.encode(rgb)

    answer = tasks.segment("semantic", model, features, vocabulary, tasks.Options(keep_label_map=True))

    assert model.card.refine == "regions"
    parts = features.tensors["regions"].numpy()
    assert parts.max() > 0
    for name in range(1, parts.max() + 1):
        assert len(set(answer.label_map[parts == name].tolist())) <= 1


def test_the_digest_names_the_model_of_the_masks() -> None:
    first, second = corr_segmenter(), corr_segmenter(masks_of=Fixed(np.zeros((1, SIDE, SIDE), bool)))

    assert first.digest == corr_segmenter().digest
    second._masks_of.digest = "other"
    assert (
        CorrClipSegmenter(
            Parts(small.towers(), dino(), "small"), first.settings, first.card, first._execution, second._masks_of
        ).digest
        != first.digest
    )


def test_a_tower_of_another_make_is_refused() -> None:
    with pytest.raises(WeightsError, match="a tower of DINO's make"):
        CorrClipTower(small.visual(), DenseClipSettings(policy="corrclip"), None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": "naclip", "proxy": Path("dino.pth")}, "--proxy belongs to .*; got --policy naclip"),
        ({"policy": "corrclip"}, "--policy corrclip needs --proxy, weights of dino_vitb8; got none"),
        ({"policy": "naclip", "proposals": "tiny"}, "--proposals belongs to --policy corrclip"),
        ({"policy": "trident", "proxy": Path("dino.pth")}, "--sam and --policy trident belong together"),
    ],
)
def test_options_of_the_import_that_do_not_go_together_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        read(Options.model_validate({"clip": [Path("clip.pt")], **changes}))
