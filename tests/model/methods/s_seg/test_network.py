"""Embeddings of images and texts in one space."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.clip.text import tokenize
from lexiseg_model.methods.s_seg.settings import SSegSettings
from tests.model.methods.s_seg.small import SMALL, small_network


@torch.no_grad()
def test_an_image_vector_is_the_mean_of_its_mask_vectors() -> None:
    queries = torch.randn(2, 6, 256)
    before = small_network()
    after = small_network(SMALL.model_copy(update={"pooling": "project_then_mean"}))

    mean_first = torch.nn.functional.normalize(before.image_projector(queries.mean(1)), dim=1)
    mean_last = torch.nn.functional.normalize(after.image_projector(queries).mean(1), dim=1)

    torch.testing.assert_close(before.embed_images(queries), mean_first)
    torch.testing.assert_close(after.embed_images(queries), mean_last)
    assert not torch.allclose(mean_first, mean_last, atol=1e-3)


@torch.no_grad()
def test_a_text_vector_is_read_at_its_end_token() -> None:
    network = small_network()
    tokens = tokenize(["a photo of a dog."])
    end = int(tokens[0].argmax())
    behind, within = tokens.clone(), tokens.clone()
    behind[0, end + 1 :] = 7
    within[0, end - 1] = 7

    torch.testing.assert_close(network.embed_texts(behind), network.embed_texts(tokens))
    assert not torch.allclose(network.embed_texts(within), network.embed_texts(tokens), atol=1e-3)


def test_settings_that_leave_gaps_between_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves gaps"):
        SSegSettings(window=224, stride=256)
    with pytest.raises(ValueError, match="window and stride come together"):
        SSegSettings(window=448)
    with pytest.raises(ValueError, match="template set"):
        SSegSettings(templates="no_such_set")
