"""Import, input and answers of the method, and TII's own on random weights (`benchmarks released --store`)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.released import falcon
from benchmarks.released.differences import difference, picture
from lexiseg_falcon.decoding import find
from lexiseg_falcon.import_ import Options, read
from lexiseg_falcon.network import ControlTokens
from lexiseg_falcon.segmenter import FalconSegmenter, input_size, resized, tokens_of
from lexiseg_model import tasks
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import FieldError, WeightsError
from lexiseg_model.segmenter import TextBank
from lexiseg_model.testing.suite import blocks
from lexiseg_model.types import ClassEntry, Vocabulary
from tests.falcon import small

PHRASES = ("red car left of the bus", "bus")


def test_the_method_is_found_by_its_entry_point() -> None:
    assert methods()["falcon_perception"] == small.METHOD


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), [(480, 640)]),
        ((500, 333), [(496, 336)]),  # to the nearest multiple of 16
        ((1024, 1024), [(992, 992)]),  # 1,003,520 pixels
        ((3000, 1500), [(1024, 512), (1024, 512)]),
        ((100, 50), [(512, 256), (512, 256)]),
        ((40, 4000), [(10, 1024), (16, 1024)]),
    ],
)
def test_a_picture_is_resized_as_by_the_released_code(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    sizes = input_size(size, 256, 1024, 16, 28 * 28 * 1280)

    assert sizes == expected
    assert resized(np.zeros((*size, 3), np.uint8), sizes).shape == (3, *expected[-1])


def bank_of(model: FalconSegmenter, phrases: tuple[str, ...]) -> TextBank:
    entries = tuple(map(ClassEntry, phrases))
    return model.text_bank(entries, model.encode_texts(model.texts(entries)))


def test_an_instance_is_where_the_released_threshold_puts_its_contour_and_no_score_is_cut() -> None:
    model = small.segmenter(seed=1)
    features = model.encode(blocks())

    named = model.named_masks(features, bank_of(model, PHRASES))

    kept = [model.objects_of(features, ids) for ids in map(tokens_of, bank_of(model, PHRASES).vectors)]
    pixels = features.tensors["pixels"]
    probability = torch.einsum("dhw,nd->nhw", pixels, torch.cat([each.queries for each in kept])).sigmoid()
    assert len(probability) >= 2
    assert torch.equal(named.masks > 0, probability > 0.3)
    assert torch.equal(named.share, torch.cat([each.scores for each in kept]))
    assert named.owner.tolist() == [label for label, each in enumerate(kept) for _ in each.scores]


def test_a_phrase_is_decoded_once_for_a_picture() -> None:
    model = small.segmenter()
    features, bank, tokens = model.encode(blocks()), bank_of(model, PHRASES), []
    model.network.output.register_forward_hook(lambda *_: tokens.append(1))

    first = model.class_scores(features, bank)
    n_tokens = len(tokens)
    again = model.named_masks(features, bank_of(model, PHRASES[::-1]))

    assert 0 < n_tokens == len(tokens) <= 2 * (model.settings.max_tokens + 1)
    assert len(first) == 2
    assert len(again.masks)


def test_an_answer_ends_at_the_token_at_which_its_question_is_given_up() -> None:
    model = small.segmenter()
    features, tokens = model.encode(blocks()), []

    def check() -> None:
        tokens.append(1)
        if len(tokens) == 4:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        tasks.segment("instance", model, features, Vocabulary((ClassEntry(PHRASES[0]),)), tasks.Options(check=check))
    assert len(tokens) == 4


@pytest.mark.parametrize(
    ("phrase", "sentence"),
    [
        ("dog " * 500, f"at most 160 tokens with its prompt, not 2041, got {'dog ' * 10}..."),
        ("<|seg|>", "plain words, without control tokens of Falcon Perception, got <|seg|>"),
    ],
)
def test_a_phrase_that_is_none_is_refused_in_a_sentence(phrase: str, sentence: str) -> None:
    with pytest.raises(FieldError) as refused:
        small.segmenter().encode_texts([phrase])
    assert str(refused.value) == f"classes: expected {sentence}"


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_a_layer(folder: Path) -> None:
    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if "layers.1." not in name}
    save_file(state, folder / "model.safetensors")


def configured(**changes: object) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(small.CONFIG | changes))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (cut, "model.safetensors is not a safetensors file: damaged, cut short, or of another kind"),
        (without_a_layer, "not the weights of Falcon Perception: missing layers.1.attention.sinks"),
        (
            configured(dim=128),
            "not the weights of Falcon Perception: img_projector.weight is [64, 768]; expected [128, 768]",
        ),
        (
            configured(do_segmentation=False),
            "this size of Falcon Perception has boxes and no masks; expected that of 0.6 B",
        ),
        (configured(model_type="sam3"), "config.json is of a model 'sam3'; expected 'falcon_perception'"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json; expected the tokenizer"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{}"), "the tokenizer has no image_token"),
    ],
)
def test_files_of_another_model_are_refused_in_a_sentence(
    change: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    small.save(tmp_path)
    change(tmp_path)

    with pytest.raises(WeightsError) as refused:
        read(Options(checkpoint=tmp_path))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@torch.inference_mode()
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixel_features_masks_and_scores_equal_the_released_codes(seed: int) -> None:
    with np.load(falcon.ARRAYS) as arrays:
        theirs = falcon.Output(*(torch.from_numpy(arrays[f"{name}_{seed}"]) for name in falcon.Output._fields))
    model = falcon.segmenter(seed, len(theirs.tokens))

    tensors = model.encode(picture(seed, falcon.SIZES[seed % 2])).tensors
    prompt = tokens_of(torch.from_numpy(model.encode_texts([falcon.PHRASE])[0]))
    image = tensors["keys"], tensors["values"]
    ours = find(model.network, model.settings, image, prompt, lambda: None, torch.float32)

    assert len(theirs.masks) >= 2
    masks = torch.einsum("dhw,nd->nhw", tensors["pixels"], ours.queries[: falcon.N_STORED])
    step = slice(None, None, falcon.STRIDE)
    pairs = [
        (ours.queries, theirs.queries),
        (masks, theirs.masks),
        (tensors["pixels"][step, step, step], theirs.features),
        (ours.scores, scores_of(theirs, model.settings.tokens)),
    ]
    assert difference(pairs) <= 1e-4


def scores_of(theirs: falcon.Output, ids: ControlTokens) -> Tensor:
    """The probabilities of each object's tokens, times those of the tokens before the first."""
    chance, presence, scores = 1.0, None, []
    for token, probability in zip(theirs.tokens.tolist(), theirs.chances.tolist(), strict=True):
        if token in (ids.coord, ids.seg) and presence is None:
            presence, chance = chance, 1.0
        chance *= probability
        if token == ids.seg:
            scores.append((presence or 1.0) * chance)
            chance = 1.0
    return torch.tensor(scores)
