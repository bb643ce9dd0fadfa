"""Tokens, text rows and class vectors of TCL against the authors' outputs."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from lexiseg_model.clip.text import TextTower
from lexiseg_model.clip.text_side import mean_of_rows
from tests.golden.golden_inputs import TCL_TEMPLATES
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import EMBEDDING_TOLERANCE, SIMILARITY_TOLERANCE, assert_close


@cache
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


def test_class_vectors_equal_the_reference() -> None:
    rows = torch.from_numpy(tower().encode(class_texts()))

    assert_close(mean_of_rows(rows, len(TCL_TEMPLATES)), "classifier", SIMILARITY_TOLERANCE)
