"""The whole network: sizes as published, one space for masks, images and texts."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.clip.text import tokenize
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.settings import SSegSettings
from tests.model.methods.s_seg.small import SMALL, small_network


def test_its_parts_have_the_published_sizes() -> None:
    network = SSegNetwork(SSegSettings())
    head = network.sem_seg_head
    parts = (network.backbone, head.pixel_decoder, head.predictor, network.text)

    millions = [sum(weight.numel() for weight in part.parameters()) / 1e6 for part in parts]

    assert [round(count, 2) for count in millions] == [48.84, 4.30, 9.88, 22.15]
    assert head.predictor.query_embed.weight.shape == (64, 256)


@torch.no_grad()
def test_every_decoder_layer_has_masks_and_the_last_are_the_answer() -> None:
    network = small_network()
    images = torch.randn(2, 3, 64, 96)

    every, last = network(images), network.last_masks(images)

    assert every.logits.shape == (2, 2, 6, 16, 24)
    assert every.queries.shape == (2, 2, 6, 256)
    torch.testing.assert_close(last.logits[0], every.logits[-1])
    torch.testing.assert_close(last.queries[0], every.queries[-1])


@torch.no_grad()
def test_masks_images_and_texts_have_unit_vectors_in_one_space() -> None:
    network = small_network()
    queries = network.last_masks(torch.randn(2, 3, 64, 64)).queries[-1]

    found = network.embed_masks(queries), network.embed_images(queries), network.embed_texts(tokenize(["a dog", "sky"]))

    assert [tuple(vectors.shape) for vectors in found] == [(2, 6, 16), (2, 16), (2, 16)]
    for vectors in found:
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))


@torch.no_grad()
def test_an_image_is_its_mean_mask_or_the_mean_of_its_projected_masks() -> None:
    queries = torch.randn(2, 6, 256)
    before = small_network()
    after = small_network(SMALL.model_copy(update={"pooling": "project_then_mean"}))

    mean_first = torch.nn.functional.normalize(before.image_projector(queries.mean(1)), dim=1)
    mean_last = torch.nn.functional.normalize(after.image_projector(queries).mean(1), dim=1)

    torch.testing.assert_close(before.embed_images(queries), mean_first)
    torch.testing.assert_close(after.embed_images(queries), mean_last)
    assert not torch.allclose(mean_first, mean_last, atol=1e-3)


@torch.no_grad()
def test_a_text_is_read_at_its_end_mark_and_what_follows_does_not_matter() -> None:
    network = small_network()
    tokens = tokenize(["a photo of a dog."])
    end = int(tokens[0].argmax())
    behind, within = tokens.clone(), tokens.clone()
    behind[0, end + 1 :] = 7
    within[0, end - 1] = 7

    torch.testing.assert_close(network.embed_texts(behind), network.embed_texts(tokens))
    assert not torch.allclose(network.embed_texts(within), network.embed_texts(tokens), atol=1e-3)


def test_a_long_text_keeps_its_end_mark() -> None:
    tokens = tokenize(["a very long caption " * 40])

    assert tokens.shape == (1, 77)
    assert tokens[0, -1] == tokens.max() == 49407


def test_settings_that_leave_gaps_between_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves gaps"):
        SSegSettings(window=224, stride=256)
    with pytest.raises(ValueError, match="window and stride come together"):
        SSegSettings(window=448)
    with pytest.raises(ValueError, match="template set"):
        SSegSettings(templates="no_such_set")
