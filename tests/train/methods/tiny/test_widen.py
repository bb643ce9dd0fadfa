"""Wider weights begin with the answers of the narrower ones."""

import shutil

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from lexiseg_model.abilities import prompts_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest, read_weights
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, FOLDER, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry, Point, Prompt
from lexiseg_train.methods.tiny.trainer import widened, widened_head
from tests.model.methods.tiny import small

WIDE = 192


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> TinySegmenter:
    """The bundled model, widened, as a model directory."""
    folder = tmp_path_factory.mktemp("wide")
    state = TinyState.from_tensors(read_weights(BUNDLED, None))
    network = widened(load_tensors(TinyNetwork.for_weights(state.network), state.network, BUNDLED).float(), WIDE)
    head = widened_head(load_tensors(PromptHead.for_weights(state.prompts), state.prompts, BUNDLED), WIDE)
    tensors = TinyState(dict(network.state_dict()), dict(head.state_dict())).merged()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / FILE)
    shutil.copyfile(FOLDER / FAMILIAR, folder / FAMILIAR)
    card = small.segmenter().card.model_copy(update={"embedding": WIDE, "weights_sha256": file_digest(folder / FILE)})
    loaded = catalogue.load_folder(folder, "cpu", "exact", card)
    assert isinstance(loaded, TinySegmenter)
    return loaded


def photograph() -> NDArray[np.uint8]:
    image = np.full((96, 128, 3), (90, 140, 60), np.uint8)
    image[24:72, 30:90] = (200, 60, 40)
    return image


def test_wider_weights_score_words_as_the_narrow_ones(wide: TinySegmenter) -> None:
    begun_with = small.segmenter()
    assert isinstance(begun_with, TinySegmenter)
    begun_with.network.own_words = None  # the directions of words are learned last
    words = tuple(map(ClassEntry, ("grass", "car", "dog")))

    narrow, wider = (
        words_of(model).class_scores(model.encode(photograph()), bank_of(words_of(model), words))
        for model in (begun_with, wide)
    )

    assert wide.network.embedding == WIDE
    torch.testing.assert_close(wider, narrow, atol=0.03, rtol=0)  # of logits


@pytest.mark.parametrize("prompt", [Prompt((Point(60, 50),)), Prompt(box=(28, 22, 92, 74))])
def test_the_wider_head_cuts_as_the_narrow_one(wide: TinySegmenter, prompt: Prompt) -> None:
    narrow, wider = (
        prompts_of(model).prompt(model.encode(photograph()), [prompt])[0] for model in (small.segmenter(), wide)
    )

    assert ((wider.masks > 0) != (narrow.masks > 0)).float().mean() < 0.002
    torch.testing.assert_close(wider.quality, narrow.quality, atol=0.01, rtol=0)


def test_a_first_step_reaches_every_new_number() -> None:
    network = widened(TinyNetwork(), WIDE).eval()
    features = network(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    texts = network.project_texts(torch.randn(3, 384, generator=torch.Generator().manual_seed(1)))

    (features.pixels[0].flatten(1).T @ texts.T).square().sum().backward()

    gradient = network.pixel_head.weight.grad
    assert gradient is not None
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_narrower_than_its_start_is_refused() -> None:
    with pytest.raises(ValueError, match="embedding=64: the weights to begin with are 96 wide"):
        widened(TinyNetwork(), 64)
