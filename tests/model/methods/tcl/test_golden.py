"""Image and caption vectors of TCL, which its training compares, against the authors' outputs."""

import torch

from lexiseg_model.clip.text import TextTower
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import EMBEDDING_TOLERANCE, assert_close
from tests.once import kept


def test_the_image_vector_equals_the_reference() -> None:
    embedding = golden.restored().network.image_embedding(golden.normalised(golden.image("tcl/image224", 224, 224)))

    assert_close(embedding, "image_embedding_224", EMBEDDING_TOLERANCE)


@kept
def tower() -> TextTower:
    return TextTower(golden.restored().towers)


def test_caption_rows_equal_the_reference() -> None:
    rows = torch.from_numpy(tower().encode(golden.ABOUT["captions"]))

    assert_close(rows, "caption_features", EMBEDDING_TOLERANCE)
