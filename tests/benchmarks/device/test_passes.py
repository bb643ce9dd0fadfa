"""Answers of a device are compared before its pace is measured; batches are as large as asked for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.device.passes import assert_labels_alike, assert_vectors_alike
from lexiseg_model import catalogue
from tests.model.stand_in import ColourSegmenter

CPU = torch.device("cpu")


def vectors() -> torch.Tensor:
    """[2, 16, 4, 4] of unit length."""
    return F.normalize(torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)


def test_rounding_to_bfloat16_is_alike() -> None:
    assert_vectors_alike(vectors().bfloat16(), vectors())


def test_one_patch_that_points_elsewhere_is_not_alike() -> None:
    changed = vectors()
    changed[1, :, 3, 2] *= -1

    with pytest.raises(AssertionError, match=r"cosine of -1\.0"):
        assert_vectors_alike(changed, vectors())


def test_labels_of_another_model_are_not_alike() -> None:
    tiny = catalogue.load("tiny", device="cpu")

    assert_labels_alike(tiny, tiny)
    with pytest.raises(AssertionError, match="% of the pixels have the label that the CPU gives them"):
        assert_labels_alike(ColourSegmenter(), tiny)
