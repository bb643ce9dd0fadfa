"""Every step of TCL's image pass against the authors' outputs."""

from __future__ import annotations

import pytest

from lexiseg_model.methods.tcl.blend import similarity
from lexiseg_model.methods.tcl.network import TclNetwork
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import EMBEDDING_TOLERANCE, SIMILARITY_TOLERANCE, assert_close

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
