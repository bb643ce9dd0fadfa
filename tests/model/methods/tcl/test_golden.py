"""TCL's network and texts against the authors' outputs."""

import numpy as np
import pytest
import torch

from lexiseg_model.clip.text import TextTower
from lexiseg_model.methods.tcl.network import TclNetwork, similarity
from tests.golden.golden_inputs import TCL_TEMPLATES
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import EMBEDDING_TOLERANCE, SIMILARITY_TOLERANCE, assert_close
from tests.once import kept

TAGS = ("224", "288x352")


def network() -> TclNetwork:
    return golden.restored().network


@pytest.mark.parametrize("tag", TAGS)
def test_input_of_the_last_block_equals_the_reference(tag: str) -> None:
    assert_close(golden.tokens(tag).tokens[0, :, ::16], f"feature0_{tag}", EMBEDDING_TOLERANCE)


@pytest.mark.parametrize("tag", TAGS)
def test_the_dense_map_equals_the_reference(tag: str) -> None:
    assert_close(network().dense(golden.tokens(tag))[0, ::8], f"dense_{tag}", EMBEDDING_TOLERANCE)


@pytest.mark.parametrize("tag", TAGS)
def test_the_clip_embedding_equals_the_reference(tag: str) -> None:
    assert_close(golden.maps(tag).clip_embedding[0, ::8], f"clip_embedding_{tag}", EMBEDDING_TOLERANCE)


@pytest.mark.parametrize(("tag", "step"), [("224", 3), ("288x352", 5)])
def test_the_grounder_equals_the_reference(tag: str, step: int) -> None:
    assert_close(golden.maps(tag).grounder[0, ::8, ::step, ::step], f"grounder_{tag}", EMBEDDING_TOLERANCE)


@pytest.mark.parametrize(("tag", "step"), [("224", 1), ("288x352", 2)])
def test_similarities_equal_the_reference(tag: str, step: int) -> None:
    similarities = similarity(golden.maps(tag).grounder, golden.texts())

    assert_close(similarities[0, :, ::step, ::step], f"similarity_{tag}", SIMILARITY_TOLERANCE)


def test_the_image_vector_equals_the_reference() -> None:
    embedding = network().image_embedding(golden.network_input("224"))

    assert_close(embedding, "image_embedding_224", EMBEDDING_TOLERANCE)


@kept
def tower() -> TextTower:
    return TextTower(golden.restored().towers)


def class_texts() -> list[str]:
    return [template.format(name) for name in golden.ABOUT["classes"] for template in TCL_TEMPLATES]


def test_caption_tokens_equal_the_reference_and_long_ones_keep_the_end_token() -> None:
    tokens = tower().tokens(golden.ABOUT["captions"])

    np.testing.assert_array_equal(tokens, golden.reference()["caption_tokens"])
    assert tokens[2, -1] == 49407


def test_template_tokens_equal_the_reference() -> None:
    tokens = tower().tokens(class_texts())

    np.testing.assert_array_equal(tokens.reshape(5, 9, -1), golden.reference()["class_tokens"])


def test_caption_rows_equal_the_reference() -> None:
    rows = torch.from_numpy(tower().encode(golden.ABOUT["captions"]))

    assert_close(rows, "caption_features", EMBEDDING_TOLERANCE)
