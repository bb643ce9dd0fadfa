"""Rows of the text tower, and the digest under which they are shared."""

from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip import tokenizer

from lexiseg_model.clip.text import CHUNK, TextTower
from lexiseg_model.clip.text_side import background_words, fill, template_set
from lexiseg_model.clip.towers import clip_from_state
from lexiseg_model.errors import OptionError
from tests.model.clip import small

TEXTS = [f"a photo of a {word}." for word in ("road", "sky", "potted plant", "fire hydrant by the kerb", "dog", "tree")]
LONG = "a very long sentence about nothing in particular " * 20


@pytest.fixture(scope="module")
def tower() -> TextTower:
    return TextTower(small.towers(quick_gelu=True))


@torch.inference_mode()
def test_rows_are_open_clip_s_own(tower: TextTower) -> None:
    model: Any = small.towers(quick_gelu=True).model
    texts = [*TEXTS, LONG, ""]

    rows = tower.encode(texts)

    expected = model.encode_text(tokenizer.tokenize(texts)).numpy()  # all 77 places
    assert rows.dtype == np.float32
    assert rows.shape == (len(texts), tower.width) == (len(texts), 16)
    np.testing.assert_allclose(rows, expected, atol=1e-5, rtol=1e-4)


def test_a_text_has_the_same_row_in_any_company(tower: TextTower) -> None:
    many = [f"{text} {number}" for number in range(CHUNK) for text in TEXTS]
    together = tower.encode(many)

    assert np.array_equal(tower.encode(many[::-1]), together[::-1])
    for index in (0, 7, len(many) - 1):
        assert np.array_equal(tower.encode([many[index]])[0], together[index])


def test_models_with_the_same_text_tower_share_a_digest(tower: TextTower) -> None:
    state = {name: value + 1 if name.startswith("visual.") else value.clone() for name, value in small.state().items()}

    assert TextTower(clip_from_state(small.ARCHITECTURE, state, quick_gelu=True)).digest == tower.digest


def test_another_weight_or_activation_is_another_text_tower(tower: TextTower) -> None:
    towers = small.towers(quick_gelu=True)
    changed = small.state() | {"ln_final.bias": small.state()["ln_final.bias"] + 1e-6}

    assert TextTower(replace(towers, quick_gelu=False)).digest != tower.digest
    assert TextTower(clip_from_state(small.ARCHITECTURE, changed, quick_gelu=True)).digest != tower.digest


def test_imagenet80_is_open_clip_s_list() -> None:
    expected = [template("sofa") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]

    assert [fill(template, "sofa") for template in template_set("imagenet80")] == expected


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="imagenet80"):
        template_set("imagenet")
    with pytest.raises(OptionError, match="bg26"):
        background_words("bg")
