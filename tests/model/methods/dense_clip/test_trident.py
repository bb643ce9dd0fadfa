"""Trident against a transcription of its released code over open_clip, timm and transformers; import and load.

Weights are random, of three seeds.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from lexiseg_model.clip.images import STATISTICS, normalise
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip import trident
from lexiseg_model.methods.dense_clip.segmenter import Parts, TridentSegmenter, flat_state
from lexiseg_model.methods.dense_clip.trident import Answer, Sam, affinity, prompted, sam_from_folder, sam_from_state
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.testing.suite import blocks
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.scenes import Scene
from lexiseg_train.evaluation.benchmarks.run import DatasetRule, benchmark_run, total_counts
from tests.golden import golden_inputs
from tests.golden import trident as plain
from tests.model.clip import small as clip
from tests.model.clip.test_windowed import loop_of_mmsegmentation
from tests.model.methods.dense_clip import small
from tests.once import kept
from tests.train.evaluation.colours import colours

Array = NDArray[np.float64]
SEEDS = [0, 3, 11]
SIDE, STRIDE, SHORT = clip.PRETRAINED_SIDE, 16, 48  # of the windows and the canvas of `small`
BETA, GAMMA = 1.2, 3.0


@kept
def photograph(seed: int, height: int = 70, width: int = 101) -> NDArray[np.uint8]:
    """[H, W, 3] of smooth colours, so that regions are large."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def normalised(maps: Array, name: Any) -> torch.Tensor:
    """[3, H, W] of 0..255 -> [1, 3, H, W] float32."""
    mean, std = (np.array(row)[:, None, None] for row in STATISTICS[name])
    return torch.from_numpy((maps - mean) / std).float()[None]


def recorded(module: torch.nn.Module, run: Any) -> tuple[Any, Any]:
    """The first input and the output of a module while `run` runs."""
    seen: list[tuple[Any, Any]] = []
    hook = module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        run()
    finally:
        hook.remove()
    return seen[0]


def clip_values(visual: Any, window: torch.Tensor) -> Array:
    """Values [width, h, w] of the last block, by open_clip's own pass."""
    block = visual.transformer.resblocks[-1]
    tokens, _ = recorded(block.ln_1, lambda: visual(window))
    attention = block.attn
    every = torch.nn.functional.linear(block.ln_1(tokens[:, 1:]), attention.in_proj_weight, attention.in_proj_bias)
    side = int((tokens.shape[1] - 1) ** 0.5)
    return every.chunk(3, -1)[2][0].T.reshape(-1, side, side).double().numpy()


def sam_view(sam: Any, rgb: NDArray[np.uint8]) -> tuple[Array, Array, plain.Size]:
    """Attention and values of the last block, by transformers' own pass, and the grid."""
    side, patch = sam.config.vision_config.image_size, sam.config.vision_config.patch_size
    size = plain.longest_side(rgb.shape[:2], side)
    resized = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
    padded = torch.zeros(1, 3, side, side)
    padded[:, :, : size[0], : size[1]] = normalised(resized.transpose(2, 0, 1), "imagenet")
    out: list[Any] = []
    last = sam.vision_encoder.layers[-1].attn.qkv
    _, qkv = recorded(last, lambda: out.append(sam.vision_encoder(padded, output_attentions=True)))
    cells, heads = side // patch, sam.config.vision_config.num_attention_heads
    grid = (size[0] // patch, size[1] // patch)
    inside = np.arange(cells * cells).reshape(cells, cells)[: grid[0], : grid[1]].ravel()
    weights = out[0].attentions[-1].reshape(heads, cells * cells, -1).double().numpy()
    values = qkv.double().numpy().reshape(cells * cells, 3, heads, -1)[:, 2].transpose(1, 0, 2)
    return weights[:, inside][:, :, inside], values[:, inside], grid


def seen_by_sam(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (-(-side // clip.PATCH) * clip.PATCH for side in rgb.shape[:2])
    return np.asarray(cv2.resize(rgb, (width, height)), np.uint8)


@torch.inference_mode()
def released_cosines(
    seed: int, rgb: NDArray[np.uint8], texts: Array, cos_fac: float, refine_neg_cos: bool, halves: bool
) -> Array:
    """[T, h, w] on SAM's grid, as the released code has them for a picture."""
    visual: Any = clip.towers(seed=seed).visual
    scale = SHORT / min(rgb.shape[:2])
    canvas = cv2.resize(rgb, (int(rgb.shape[1] * scale + 0.5), int(rgb.shape[0] * scale + 0.5)))
    sides = plain.preprocessed_size(canvas.shape[:2], clip.PATCH, SIDE)
    whole = plain.bilinear(canvas.transpose(2, 0, 1).astype(np.float64), sides)
    corners = loop_of_mmsegmentation(*sides, SIDE, STRIDE)
    windows = [whole[:, y1:y2, x1:x2] for y1, x1, y2, x2 in corners]
    values = [clip_values(visual, normalised(window, "clip_rounded")) for window in windows]
    dino = small.dino(seed).vit
    likeness = [dino.forward_features(normalised(window, "imagenet"))[0, 1:].T.double().numpy() for window in windows]
    fine = int(likeness[0].shape[1] ** 0.5)
    mixed = plain.proxy_tokens(values, [each.reshape(-1, fine, fine) for each in likeness], BETA, GAMMA)
    out = visual.transformer.resblocks[-1].attn.out_proj
    weight, bias = out.weight.double().numpy(), out.bias.double().numpy()
    tokens = [np.einsum("oc,chw->ohw", weight, each) + bias[:, None, None] for each in mixed]
    plane = plain.spliced(tokens, corners, sides, clip.PATCH)
    picture = seen_by_sam(rgb)
    half = picture.shape[1] // 2
    parts = [picture[:, :half], picture[:, half:]] if halves else [picture]
    views = [sam_view(small.sam_model(seed), part) for part in parts]
    guided = plain.guided(plane, views, cos_fac, refine_neg_cos)
    flat = torch.from_numpy(guided.reshape(len(guided), -1).T).float()
    vectors = (visual.ln_post(flat) @ visual.proj).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines: Array = texts @ vectors.T
    return cosines.reshape(-1, *guided.shape[1:])


@pytest.mark.parametrize(
    ("factor", "low_bound", "strips"), [(1.2, None, 1), (3.0, 0.6, 2)], ids=["as by default", "as for cityscapes"]
)
@pytest.mark.parametrize("seed", SEEDS)
@torch.inference_mode()
def test_cosines_are_those_of_the_released_code(seed: int, factor: float, low_bound: float | None, strips: int) -> None:
    rgb, texts = photograph(seed), golden_inputs.unit_vectors(seed, "texts", 5, 16)
    model = small.trident_segmenter(seed=seed, sam_factor=factor, sam_low_bound=low_bound, sam_strips=strips)
    bank = TextBank(torch.from_numpy(texts), np.arange(len(texts)), len(texts))

    ours = model.class_scores(model.encode(rgb), bank)

    theirs = released_cosines(seed, rgb, texts.astype(np.float64), factor, low_bound is None, halves=strips == 2)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def between(qualities: list[float]) -> float:
    """A bound that some of the masks exceed, at a distance from all of them."""
    low, *others = sorted(qualities)
    return (low + others[0]) / 2 if others else low - 0.1


@pytest.mark.parametrize(
    ("seed", "sure", "least"),
    [*((seed, 0.0, 0.3) for seed in SEEDS[1:]), *((SEEDS[0], sure, 0.1) for sure in (0.0, -9.0, 9.0))],
)
@torch.inference_mode()
def test_refined_answers_are_those_of_the_released_code(
    seed: int, sure: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(seed)
    cosines = plain.bilinear(generator.normal(scale=0.05, size=(6, 4, 5)), (95, 130))
    # Noise, because interpolation is flat at the borders, and any of the most probable pixels would do.
    seg = plain.postprocessed(cosines + generator.normal(scale=1e-3, size=cosines.shape), (95, 130), 4, 40, 0.35)
    sam, seen = small.sam_model(seed), (96, 136)
    embedding = torch.randn(32, 8, 8, generator=torch.Generator().manual_seed(seed))
    released = plain.Refinement(sam, embedding, seen, least)
    # Of random weights the expected IoU is any number: none, some or all of the masks are good.
    qualities = released.expected_iou(seg)
    bound = sure or between(qualities)
    monkeypatch.setattr(trident, "MIN_QUALITY", bound)

    answer = Answer(torch.from_numpy(seg.shares).float(), torch.from_numpy(seg.labels))
    ours = prompted(Sam(sam), embedding, seen, answer, least)

    theirs = released(seg, bound)
    assert len(qualities) >= 2
    assert (seg.labels != seg.shares.argmax(0)).any()
    assert (ours.winner.numpy() == theirs.labels).mean() >= 0.999
    refined = theirs.shares.sum(0) > 0  # elsewhere ours keeps the probabilities, so that there is a logit
    np.testing.assert_allclose(ours.shares.numpy()[:, refined], theirs.shares[:, refined], atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_of_an_evaluation_are_those_of_the_released_code(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A low scale: probabilities of almost 1 would be equal in float32, and a region's most probable pixel any of them.
    model, rgb, scale, threshold = small.trident_segmenter(seed=seed), photograph(seed), 8.0, 0.3
    rule = DatasetRule(scale=scale, threshold=threshold, background=["sky", "wall"])
    names = ["background", "red", "green", "blue"]
    entries = tuple(map(ClassEntry, (*rule.background, *names[1:])))
    bank = model.text_bank(entries, KnownRows(model)(model.texts(entries)))
    cosines = released_cosines(seed, rgb, bank.vectors.double().numpy(), 1.2, True, halves=False)
    seg = plain.postprocessed(cosines, rgb.shape[:2], len(names), scale, threshold)
    sam, picture = small.sam_model(seed), seen_by_sam(rgb)
    released = plain.Refinement(sam, Sam(sam)(picture).embedding, picture.shape[:2], 0.2)
    bound = between(released.expected_iou(seg))
    monkeypatch.setattr(trident, "MIN_QUALITY", bound)
    theirs = released(seg, bound).labels

    data = replace(colours(names), images=(Scene("one", lambda: rgb, lambda: theirs.astype(np.uint16)),))
    counts = total_counts(benchmark_run(model, data, rule, "regions", tmp_path).run(), len(names))

    assert counts[0].sum() >= 0.999 * rgb.shape[0] * rgb.shape[1]


def test_on_a_picture_of_one_colour_every_patch_keeps_itself() -> None:
    shares = affinity(torch.ones(2, 4, 4), torch.zeros(2, 4, 3), 1.2, None)

    torch.testing.assert_close(shares, torch.eye(4))


def test_sam_is_read_from_the_hubs_layout_and_back_from_a_model_directory(tmp_path: Path) -> None:
    small.sam_model().save_pretrained(tmp_path)

    read = sam_from_folder(tmp_path)
    save_file(flat_state(clip.towers(), None, read), tmp_path / "flat.safetensors")
    kept = load_file(tmp_path / "flat.safetensors")
    own = {name.removeprefix("sam."): value for name, value in kept.items() if name.startswith("sam.")}

    expected = Sam(small.sam_model())(blocks()).embedding
    torch.testing.assert_close(read(blocks()).embedding, expected)
    torch.testing.assert_close(sam_from_state(read.config, own)(blocks()).embedding, expected)


@torch.inference_mode()
def test_lposs_compares_the_values_of_dino_where_there_is_one() -> None:
    model, without = small.trident_segmenter(), small.segmenter()
    features, plainly = (each.encode(blocks()[:48, :80]) for each in (model, without))
    guide = features.tensors["guide"][None].float()

    ours = model.likeness(features)

    theirs = torch.nn.functional.normalize(small.dino().values(normalise(guide, "imagenet"))[0], dim=0)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(without.likeness(plainly), without.patches(plainly))


def test_without_sam_it_does_not_load() -> None:
    model = small.trident_segmenter()

    with pytest.raises(WeightsError, match="needs DINO's tower and SAM's encoder"):
        TridentSegmenter(
            Parts(clip.towers(), small.dino(), "small"),
            model.settings,
            model.card,
            Execution(torch.device("cpu"), "exact"),
        )
